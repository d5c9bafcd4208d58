"""A start that fails: one clear line, a non-zero exit status and no healthy ping."""

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from ops import local_servers
from ops.local_servers import process_environment
from serving.artifact import manifest
from support.farm import emulated
from support.programs import Done, run

# Settings with which no face starts, and the message as a regular expression.
SETTINGS = [
    (
        {"MODEL_NAME": "mobilnetv3_large"},
        "'mobilnetv3_large' is not a classification model of the GluonCV zoo .*"
        "did you mean mobilenetv3_large.*",
    ),
    ({"WORKERS": "many"}, "WORKERS='many' is not a whole number from 1 to 999999999"),
    (
        {"MODEL_DATA_URL": "/absent?sig=MARK", "LOG_LEVEL": "WARNING"},
        "MODEL_DATA_URL=/absent cannot be unpacked: .*",
    ),
]
# Arguments of `serve`.
ARGUMENTS = [
    ("--model-path=/absent", "/absent is not a folder"),
    ("--host=192.0.2.1", r".*Cannot assign requested address .*192\.0\.2\.1.*"),
    ("--port=99999", ".*port must be 0-65535.*"),
]


def serve(arguments: Sequence[str], environment: Mapping[str, str]) -> Done:
    port = str(local_servers.free_port())
    command = [local_servers.ENTRY, "serve", "--host", "127.0.0.1", "--port", port, *arguments]
    return run(command, env={**os.environ, **process_environment(), **environment}, timeout=60)


@pytest.mark.parametrize(
    ("argument", "environment", "message"),
    [(argument, {}, message) for argument, message in ARGUMENTS]
    + [("--host=127.0.0.1", environment, message) for environment, message in SETTINGS],
)
def test_the_server_ends_with_one_line(
    argument: str, environment: dict[str, str], message: str
) -> None:
    ended = serve([argument], environment)
    assert ended.returncode != 0
    (line,) = (ended.stdout + ended.stderr).splitlines()
    record = json.loads(line)
    assert (record["level"], "traceback" in record) == ("ERROR", False)
    assert re.fullmatch(message, record["message"]), record["message"]


def test_a_graph_that_the_engine_cannot_load(tmp_path: Path, artifact_folder: Path) -> None:
    """The workers find the fault, after the artifact was checked, and end the server."""
    folder = shutil.copytree(artifact_folder, tmp_path / "artifact")
    (folder / "model.onnx").write_bytes(b"")
    manifest.write(folder, manifest.read(folder))
    ended = serve(["--model-path", str(folder)], {"WORKERS": "2"})
    assert (ended.returncode, ended.stderr) == (1, "")
    records = [json.loads(line) for line in ended.stdout.splitlines()]
    (error,) = [record for record in records if record["level"] == "ERROR"]
    assert "model.onnx cannot be loaded" in error["message"]
    assert "traceback" not in error


@pytest.mark.parametrize(("environment", "message"), SETTINGS)
def test_the_lambda_face_fails_its_init(environment: dict[str, str], message: str) -> None:
    """Lambda returns the init error to the caller; the log has the same line without a secret."""
    with emulated(environment) as (function, process):
        answer = function.invoke({"uri": "data:,"})
        lines = [line for line in process.output.splitlines() if line.startswith("{")]
    assert answer["errorType"] == "StartError"
    assert re.fullmatch(message, answer["errorMessage"]), answer
    assert not answer.get("stackTrace")
    assert "MARK" not in answer["errorMessage"] + "".join(lines)
    records = [json.loads(line) for line in lines]
    assert [record["level"] for record in records if record["level"] != "INFO"] == ["ERROR"]
