"""Models other than the baked one: a replaced `inference.py`, and a proof-of-concept folder."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from cases import PHOTOS, data_uri
from ops import faces
from ops.faces import EmulatedLambda, HttpFace
from ops.local import process_environment

TABULAR = '''
"""A model that is not about images: the mean of a row of numbers."""

from serving.contract import Payload
from serving.errors import MalformedRequest

PAYLOAD_TYPES = {"text/csv"}


def load_model(model_path=None):
    return sum(path.stat().st_size for path in model_path.iterdir())


def infer(request, net):
    if isinstance(request, Payload):
        row = [float(cell) for cell in request.data.decode().split(",")]
    else:
        row = request.get("row")
        if not isinstance(row, list):
            raise MalformedRequest('a request must have "row", an array')
    return {"mean": sum(row) / len(row), "bytes": net}
'''


@contextmanager
def both(
    container: Path, environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[HttpFace, EmulatedLambda]]:
    monkeypatch.setattr(faces, "ENTRY", container / "entry.sh")
    with faces.http_process(environment) as http, faces.lambda_process(environment) as function:
        yield http, function


def test_replacing_one_file_serves_another_kind_of_model_on_both_faces(
    tmp_path: Path, artifact_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = tmp_path / "container"
    shutil.copytree(faces.ENTRY.parent / "serving", container / "serving")
    shutil.copy(faces.ENTRY, container)
    (container / "serving" / "inference.py").write_text(TABULAR)
    size = sum(path.stat().st_size for path in artifact_folder.iterdir())

    with both(container, process_environment(), monkeypatch) as (http, function):
        for face in (http, function):
            for content_type, body in (
                ("application/json", b'{"row": [1, 2, 6]}'),
                ("text/csv", b"1,2,6"),
            ):
                reply = face.send("POST", "/invocations", {"Content-Type": content_type}, body)
                assert (reply.status, json.loads(reply.body)) == (200, {"mean": 3, "bytes": size})
            reply = face.send("POST", "/invocations", {"Content-Type": "image/jpeg"}, b"\xff")
            assert reply.status == 415
            reply = face.send("POST", "/invocations", {}, b"{}")
            assert json.loads(reply.body)["error"]["message"].startswith("a request must have")
            reply = face.send("POST", "/invocations", {}, b'{"row": []}')
            assert (reply.status, json.loads(reply.body)["error"]) == (
                500,
                {
                    "code": "internal_error",
                    "message": "the model failed on this request; its log entry says why",
                },
            )
        assert function.invoke([{"row": [4]}])[0]["mean"] == 4
        fault = function.invoke({"row": []})
        assert (fault["errorType"], fault["stackTrace"]) == ("internal_error", [])


def test_a_folder_of_only_symbol_and_params_serves_on_mxnet(
    tmp_path: Path, artifact_folder: Path
) -> None:
    """The proof of concept's artifact. Its transform is GluonCV's own, its labels ImageNet's."""
    shutil.copy(artifact_folder / "model-symbol.json", tmp_path / "x-symbol.json")
    shutil.copy(artifact_folder / "model-0000.params", tmp_path / "x-0000.params")
    environment = {**process_environment(), "WORKERS": "1"}
    with faces.http_process(environment, ["--model-path", str(tmp_path)]) as face:
        photo = (PHOTOS / "coffee.png").read_bytes()
        reply = face.send("POST", "/invocations", {"Content-Type": "image/png"}, photo)
    best = json.loads(reply.body)["results"][0]
    # With ImageNet's normalisation; the manifest's own, which this folder lacks, gives 0.95.
    assert (best["label"], float(best["prob"])) == ("espresso", pytest.approx(0.7734, abs=1e-3))


def test_the_mounted_artifact_wins_over_the_baked_one(
    tmp_path: Path, artifact_folder: Path
) -> None:
    shutil.copytree(artifact_folder, tmp_path / "mounted")
    environment = {**process_environment(), "MODEL_NAME": "no_such_model", "WORKERS": "1"}
    with faces.http_process(environment, ["--model-path", str(tmp_path / "mounted")]) as face:
        body = json.dumps({"uri": data_uri("rocket.jpg")}).encode()
        reply = face.send("POST", "/invocations", {"Content-Type": "application/json"}, body)
    assert json.loads(reply.body)["results"][0]["label"] == "missile"


def test_entry_sh_works_from_any_folder_by_any_path(tmp_path: Path) -> None:
    link = tmp_path / "a link"
    link.symlink_to(faces.ENTRY)
    port = str(faces.free_port())
    command = [str(link), "serve", "--host", "127.0.0.1", "--port", port]
    here = Path.cwd()
    os.chdir(tmp_path)
    try:
        with faces.running(command, {**process_environment(), "WORKERS": "1"}) as process:
            faces.wait_until_healthy(HttpFace(f"http://127.0.0.1:{port}"), process)
    finally:
        os.chdir(here)
