"""An image for another kind of model: the same Dockerfile and its packages, without our model."""

import json
from pathlib import Path

import pytest

from infra.image import build_context
from ops import local_servers
from ops.local_servers import ROOT
from support import cases
from support.docker import docker
from support.farm import LAMBDA_LIKE
from support.programs import run

pytestmark = pytest.mark.docker

IRIS = ROOT / "examples" / "iris"
BUILD = ("build", "--platform", "linux/amd64", "--build-arg", "WITH_MXNET=0")


def test_the_image_answers_its_golden_cases_on_both_faces(tmp_path: Path) -> None:
    context, tag = tmp_path / "context", "one-image:test-iris"
    build_context.write(IRIS, context)
    docker(*BUILD, "--tag", tag, "--build-arg", "MODEL_NAME=iris", str(context))
    model_id = json.loads((IRIS / "artifact" / "manifest.json").read_text())["files"]["model.onnx"]
    with (
        local_servers.http_container(tag) as http,
        local_servers.lambda_container(tag, LAMBDA_LIKE) as function,
    ):
        for case in cases.read(IRIS / "golden.json", IRIS):
            call = (case.method, case.path, case.headers, case.body({}))
            first, second = http.send(*call), function.send(*call)
            case.check(first, {})
            assert (first.status, first.body) == (second.status, second.body), case.name
    script = "sha256sum /opt/artifacts/*/model.onnx"
    found = docker("run", "--rm", "--entrypoint=/bin/sh", tag, "-c", script).split()
    assert found == [model_id, "/opt/artifacts/iris/model.onnx"]  # no other model


def test_a_model_that_fails_ends_the_build(tmp_path: Path) -> None:
    """The build loads the model and warms it up."""
    context = tmp_path / "context"
    build_context.write(IRIS, context)
    (context / "model" / "artifact" / "labels.txt").write_text("altered\n")
    built = run(["docker", *BUILD, "--build-arg", "MODEL_NAME=iris", str(context)])
    assert built.returncode
    message = "labels.txt does not have the sha256 that its manifest names"
    assert message in built.stdout + built.stderr
