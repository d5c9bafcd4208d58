"""Test other models than the image's: a replaced `inference.py`, and a proof-of-concept folder."""

import json
import shutil
from pathlib import Path

import pytest

from ops import local_servers
from ops.local_servers import HttpFace, process_environment
from support.cases import PHOTOS

TABULAR = '''
"""A model without images: the mean of a row of numbers."""

from serving.core.contract import Payload
from serving.core.errors import MalformedRequest

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
FAILED = "the model failed on this request; its log entry says why"
INTERNAL = {"code": "internal_error", "message": FAILED}


def test_both_faces_serve_a_replaced_inference_file(
    tmp_path: Path, artifact_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = tmp_path / "container"
    shutil.copytree(local_servers.ENTRY.parent / "serving", container / "serving")
    shutil.copy(local_servers.ENTRY, container)
    (container / "serving" / "inference.py").write_text(TABULAR)
    size = sum(path.stat().st_size for path in artifact_folder.iterdir())

    environment = process_environment()
    monkeypatch.setattr(local_servers, "ENTRY", container / "entry.sh")
    with (
        local_servers.http_process(environment) as http,
        local_servers.lambda_process(environment) as function,
    ):
        for face in (http, function):
            for content_type, body, status, answer in (
                ("application/json", b'{"row": [1, 2, 6]}', 200, {"mean": 3, "bytes": size}),
                ("text/csv", b"1,2,6", 200, {"mean": 3, "bytes": size}),
                ("image/jpeg", b"\xff", 415, None),
                ("application/json", b"{}", 400, None),
                ("application/json", b'{"row": []}', 500, {"error": INTERNAL}),
            ):
                reply = face.send("POST", "/invocations", {"Content-Type": content_type}, body)
                assert reply.status == status
                assert answer is None or json.loads(reply.body) == answer
        fault = function.invoke({"row": []})
        assert (fault["errorType"], fault["stackTrace"]) == ("internal_error", [])


def test_a_folder_of_only_symbol_and_params_serves_on_mxnet(
    tmp_path: Path, artifact_folder: Path
) -> None:
    """The proof of concept's artifact has GluonCV's transform and ImageNet's labels."""
    shutil.copy(artifact_folder / "model-symbol.json", tmp_path / "x-symbol.json")
    shutil.copy(artifact_folder / "model-0000.params", tmp_path / "x-0000.params")
    environment = {**process_environment(), "WORKERS": "1"}
    with local_servers.http_process(environment, ["--model-path", str(tmp_path)]) as face:
        photo = (PHOTOS / "coffee.png").read_bytes()
        reply = face.send("POST", "/invocations", {"Content-Type": "image/png"}, photo)
    best = json.loads(reply.body)["results"][0]
    # ImageNet's normalisation gives this. The manifest's, which the folder lacks, gives 0.95.
    assert (best["label"], float(best["prob"])) == ("espresso", pytest.approx(0.7734, abs=1e-3))


def test_entry_sh_works_from_any_folder_by_any_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "a link"
    link.symlink_to(local_servers.ENTRY)
    port = str(local_servers.free_port())
    command = [str(link), "serve", "--host", "127.0.0.1", "--port", port]
    monkeypatch.chdir(tmp_path)
    with local_servers.running(command, {**process_environment(), "WORKERS": "1"}) as process:
        local_servers.wait_until_healthy(HttpFace(f"http://127.0.0.1:{port}"), process)
