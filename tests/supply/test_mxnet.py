"""MXNet is retired, so the default serving path stays clear of it: SECURITY.md."""

import os
import secrets
import shutil
from pathlib import Path

from cases import PHOTOS
from ops import faces
from ops.faces import Face
from ops.local import process_environment

MARK = "SUPPLY_TEST"


def loaded(mark: str) -> set[str]:
    """What of MXNet the processes with that mark in their environment have mapped."""
    found: set[str] = set()
    seen = 0
    for process in Path("/proc").iterdir():
        try:
            if f"{MARK}={mark}\0" not in (process / "environ").read_text(errors="replace"):
                continue
            maps = (process / "maps").read_text()
        except OSError:  # of another user, or it has ended
            continue
        seen += 1
        found |= {name for name in ("libmxnet", "onnxruntime") if name in maps}
    assert seen, "no process carries the mark"
    return found


def ask(face: Face, photo: str = "cat.jpg") -> None:
    body = (PHOTOS / photo).read_bytes()
    reply = face.send("POST", "/invocations", {"Content-Type": "image/jpeg"}, body)
    assert reply.status == 200, reply.body


def test_neither_face_loads_mxnet_to_answer() -> None:
    environment = {**process_environment(), "WORKERS": "2"}
    with faces.http_process(environment | {MARK: (mark := secrets.token_hex(8))}) as http:
        ask(http)
        assert loaded(mark) == {"onnxruntime"}
    with faces.lambda_process(environment | {MARK: (mark := secrets.token_hex(8))}) as function:
        ask(function)
        assert loaded(mark) == {"onnxruntime"}


def test_an_artifact_without_a_compiled_graph_does(tmp_path: Path, artifact_folder: Path) -> None:
    """So the test above would see it."""
    shutil.copy(artifact_folder / "model-symbol.json", tmp_path / "x-symbol.json")
    shutil.copy(artifact_folder / "model-0000.params", tmp_path / "x-0000.params")
    mark = secrets.token_hex(8)
    environment = {**process_environment(), "WORKERS": "1", MARK: mark}
    with faces.http_process(environment, ["--model-path", os.fspath(tmp_path)]) as face:
        ask(face)
        assert "libmxnet" in loaded(mark)
