"""Users of the proof of concept can keep their requests, folders and commands (docs/11)."""

import json
import os
import shutil
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from ops import local_servers
from ops.local_servers import ROOT, process_environment
from support.cases import data_uri
from support.farm import emulated
from support.programs import run
from support.upstream import Upstream, listening

JSON = {"Content-Type": "application/json"}
ZOO_MODEL = "cifar_resnet20_v1"  # 1 MB
CIFAR_10 = {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship"}
CIFAR_10 |= {"truck"}
ZOO_STAND_IN = ROOT / "tests" / "unit" / "build_artifact" / "zoo_stand_in.py"


@pytest.fixture(scope="module")
def environment(local_upstream: Upstream) -> dict[str, str]:
    return {**process_environment(), "WORKERS": "1", **local_upstream.environment}


def check(answer: Any, uri: str, label: str) -> None:
    """Check the wire format: https://github.com/lou-k/joint-sagemaker-lambda-container"""
    assert [*answer] == ["uri", "results"]
    assert answer["uri"] == uri
    assert answer["results"][0]["label"] == label
    assert len(answer["results"]) == 5
    assert {tuple(result) for result in answer["results"]} == {("label", "prob")}
    assert {type(value) for result in answer["results"] for value in result.values()} == {str}
    probabilities = [float(result["prob"]) for result in answer["results"]]
    assert probabilities == sorted(probabilities, reverse=True)


def test_its_handler_name(environment: dict[str, str], local_upstream: Upstream) -> None:
    uri = f"{local_upstream.places['http']}/coffee.png"
    with emulated(environment, "lambda.handler") as (function, _):
        check(function.invoke({"uri": uri}), uri, "espresso")


def test_its_requests_folder_and_options_on_the_http_server(
    artifact_folder: Path, tmp_path: Path, environment: dict[str, str], local_upstream: Upstream
) -> None:
    """MXNet serves the folder, with ImageNet's names."""
    for name in ("model-symbol.json", "model-0000.params"):
        shutil.copy(artifact_folder / name, tmp_path)
    uri = f"{local_upstream.places['http']}/coffee.png"
    body = json.dumps({"uri": uri}).encode()
    with local_servers.http_process(environment, ["--model-path", str(tmp_path)]) as face:
        reply = face.send("POST", "/invocations", JSON, body)
    assert reply.status == 200
    check(json.loads(reply.body), uri, "espresso")


def python(*arguments: str, **variables: str) -> str:
    """Return the output of a Python program that can import the image's modules."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "container"), **variables}
    done = run([sys.executable, *arguments], env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_its_calls_download_a_model_from_the_zoo(tmp_path: Path) -> None:
    """`load_model()` takes no path and `infer` a bare URI; the image does not hold MODEL_NAME.

    GluonCV's table gets the checksums of the tests' weights.
    """
    www = tmp_path / "www"
    python(str(ZOO_STAND_IN), "make", str(www), ZOO_MODEL)
    program = """
import json, sys, warnings
warnings.simplefilter("ignore")
from gluoncv.model_zoo import model_store
model_store._model_sha1.update(json.load(open(sys.argv[1])))
from serving import inference
print(json.dumps(inference.infer(sys.argv[2], inference.load_model())))
"""
    variables = {"MODEL_NAME": ZOO_MODEL, "ARTIFACTS_DIR": str(tmp_path)}
    arguments = ("-c", program, str(www / "sha1.json"), data_uri("cat.jpg"))
    with listening(partial(SimpleHTTPRequestHandler, directory=str(www))) as url:
        said = python(*arguments, **variables, MXNET_GLUON_REPO=url)
    labels = {result["label"] for result in json.loads(said)["results"]}
    assert len(labels) == 5
    assert labels < CIFAR_10
