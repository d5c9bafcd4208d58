"""A start that cannot succeed: one clear line, a non-zero exit, never a healthy ping."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from ops import faces
from ops.local import process_environment


@pytest.fixture
def damaged(tmp_path: Path, artifact_folder: Path) -> Path:
    """A copy of the artifact without its labels."""
    folder = tmp_path / "damaged"
    shutil.copytree(artifact_folder, folder)
    (folder / "labels.txt").unlink()
    return folder


def serve(
    *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [faces.ENTRY, "serve", "--host", "127.0.0.1", "--port", str(faces.free_port()), *arguments],
        env={**os.environ, **process_environment(), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def refusal(ended: subprocess.CompletedProcess[str]) -> str:
    """The one line that a failed start prints."""
    assert ended.returncode != 0
    (line,) = (ended.stdout + ended.stderr).splitlines()
    record = json.loads(line)
    assert record["level"] == "ERROR"
    assert "traceback" not in record
    return str(record["message"])


def test_an_explicit_model_path_without_an_artifact(tmp_path: Path) -> None:
    for place in (tmp_path / "absent", tmp_path):
        assert refusal(serve("--model-path", str(place))) == (
            f"--model-path {place} is no folder with an artifact"
        )


def test_a_folder_that_is_no_artifact(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"x")
    assert refusal(serve("--model-path", str(tmp_path))).startswith(f"{tmp_path} is no artifact")


def test_a_missing_file(damaged: Path) -> None:
    assert refusal(serve("--model-path", str(damaged))) == (
        f"the artifact in {damaged} lacks labels.txt, which its manifest names"
    )


def test_another_model_id() -> None:
    message = refusal(serve(environment={"MODEL_ID": "f" * 64}))
    assert f"but MODEL_ID asks for {'f' * 64}" in message


def test_an_unknown_model_name() -> None:
    message = refusal(serve(environment={"MODEL_NAME": "mobilnetv3_large"}))
    assert message.startswith("'mobilnetv3_large' is no classification model of the GluonCV zoo")
    assert "did you mean mobilenetv3_large" in message


@pytest.mark.parametrize("name", ["WORKERS", "OMP_NUM_THREADS"])
def test_a_wrong_setting(name: str) -> None:
    message = refusal(serve(environment={name: "many"}))
    assert message == f"{name}='many' is not a whole number of 1 or more"


def test_a_port_that_is_taken_or_is_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = refusal(serve("--port", str(port)))
    assert message.startswith(f"127.0.0.1:{port} cannot be listened on: ")
    assert refusal(serve("--port", "99999")).startswith("127.0.0.1:99999 cannot be listened on: ")


def test_a_graph_that_the_engine_cannot_load(tmp_path: Path, artifact_folder: Path) -> None:
    """Found by the workers, after the artifact was checked: the server ends all the same."""
    folder = tmp_path / "artifact"
    shutil.copytree(artifact_folder, folder)
    (folder / "model.onnx").write_bytes(b"")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["model.onnx"] = hashlib.sha256(b"").hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    ended = serve("--model-path", str(folder), environment={"WORKERS": "2"})
    assert (ended.returncode, ended.stderr) == (1, "")
    records = [json.loads(line) for line in ended.stdout.splitlines()]
    (error,) = [record for record in records if record["level"] == "ERROR"]
    assert "model.onnx cannot be loaded" in error["message"]
    assert "traceback" not in error


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"MODEL_ID": "f" * 64}, "but MODEL_ID asks for"),
        ({"MODEL_NAME": "mobilnetv3_large"}, "did you mean mobilenetv3_large"),
        ({"MAX_BODY_BYTES": "4 MB"}, "MAX_BODY_BYTES='4 MB' is not a whole number"),
    ],
)
def test_the_lambda_face_fails_its_init(environment: dict[str, str], message: str) -> None:
    """Lambda shows the init error to whoever invokes; its log has the same one line."""
    port = faces.free_port()
    options = f"--runtime-interface-emulator-address 127.0.0.1:{port}"
    options += f" --runtime-api-address 127.0.0.1:{faces.free_port()}"
    settings = {**process_environment(), **faces.lambda_settings(), "RIE_OPTIONS": options}
    with faces.running([str(faces.ENTRY)], {**settings, **environment}) as process:
        faces.wait_until_open(port, process)
        answer = faces.EmulatedLambda(f"http://127.0.0.1:{port}").invoke({"uri": "data:,"})
        lines = [line for line in process.output.splitlines() if message in line]
    assert answer["errorType"] == "StartError"
    assert message in answer["errorMessage"]
    assert "stackTrace" not in answer or not answer["stackTrace"]
    records = [json.loads(line) for line in lines if line.startswith("{")]
    assert [record["level"] for record in records] == ["ERROR"]
