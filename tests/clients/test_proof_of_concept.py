"""What somebody has who comes from the proof of concept works unchanged: docs/11."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from cases import PHOTOS, data_uri
from ops import faces
from ops.faces import ENTRY, ROOT, EmulatedLambda, HttpFace
from ops.local import process_environment
from serving import inference
from tests.clients.stand_in import serving
from upstream import Upstream

JSON = {"Content-Type": "application/json"}
ZOO_MODEL = "cifar_resnet20_v1"  # 1 MB
CIFAR_10 = {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship"}
CIFAR_10 |= {"truck"}
ZOO_STAND_IN = ROOT / "tests" / "build_artifact" / "zoo_stand_in.py"


@pytest.fixture(scope="module")
def folder(artifact_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact as the proof of concept knows it."""
    folder = tmp_path_factory.mktemp("my-model")
    for name in ("model-symbol.json", "model-0000.params"):
        shutil.copy(artifact_folder / name, folder)
    return folder


@pytest.fixture(scope="module")
def environment(local_upstream: Upstream) -> dict[str, str]:
    """A face that may fetch from this machine, as the proof of concept could."""
    return {**process_environment(), "WORKERS": "1", **local_upstream.environment}


@contextmanager
def handler_named(name: str, environment: Mapping[str, str]) -> Iterator[EmulatedLambda]:
    """`entry.sh NAME`: what an image's command, or a function's own, makes of it."""
    port = faces.free_port()
    options = f"--runtime-interface-emulator-address 127.0.0.1:{port}"
    options += f" --runtime-api-address 127.0.0.1:{faces.free_port()}"
    variables = {**faces.lambda_settings(), **environment, "RIE_OPTIONS": options}
    with faces.running([str(ENTRY), name], variables) as process:
        faces.wait_until_open(port, process)
        yield EmulatedLambda(f"http://127.0.0.1:{port}")


def check(answer: Any, uri: str, label: str) -> None:
    """The wire format, to the types: https://github.com/lou-k/joint-sagemaker-lambda-container"""
    assert [*answer] == ["uri", "results"]
    assert answer["uri"] == uri
    assert answer["results"][0]["label"] == label
    assert len(answer["results"]) == 5
    assert {tuple(result) for result in answer["results"]} == {("label", "prob")}
    assert {type(value) for result in answer["results"] for value in result.values()} == {str}
    probabilities = [float(result["prob"]) for result in answer["results"]]
    assert probabilities == sorted(probabilities, reverse=True)


@pytest.mark.parametrize("name", ["lambda.handler", "serving.lambda_handler.handler"])
def test_its_event_by_its_handlers_name(
    name: str, environment: dict[str, str], local_upstream: Upstream
) -> None:
    uri = f"{local_upstream.places['http']}/coffee.png"
    with handler_named(name, environment) as function:
        check(function.invoke({"uri": uri}), uri, "espresso")


def test_its_requests_folder_and_options_on_the_http_server(
    folder: Path, environment: dict[str, str], local_upstream: Upstream
) -> None:
    """MXNet serves it, with GluonCV's transform and ImageNet's names."""
    uri = f"{local_upstream.places['http']}/coffee.png"
    body = json.dumps({"uri": uri}).encode()
    with faces.http_process(environment, ["--model-path", str(folder)]) as face:
        reply = face.send("POST", "/invocations", JSON, body)
    assert reply.status == 200
    answer = json.loads(reply.body)
    check(answer, uri, "espresso")
    expected = by_mxnet_and_gluoncv(folder, PHOTOS / "coffee.png")
    for result in answer["results"]:
        assert float(result["prob"]) == pytest.approx(expected[result["label"]], abs=1e-4)


def by_mxnet_and_gluoncv(folder: Path, photo: Path) -> dict[str, float]:
    """Each class's probability as the proof of concept computes it, in a process of its own."""
    program = """
import json, sys, warnings
warnings.simplefilter("ignore")
import mxnet as mx
from gluoncv.data.transforms.presets.imagenet import transform_eval
from serving.labels import imagenet_labels
symbol, params, photo = sys.argv[1:]
net = mx.gluon.SymbolBlock.imports(symbol, ["data"], params)
found = mx.nd.softmax(net(transform_eval(mx.image.imdecode(open(photo, "rb").read()))))[0]
print(json.dumps(dict(zip(imagenet_labels(), found.asnumpy().tolist()))))
"""
    files = [str(folder / "model-symbol.json"), str(folder / "model-0000.params"), str(photo)]
    found: dict[str, float] = json.loads(python("-c", program, *files))
    return found


def python(*arguments: str, **variables: str) -> str:
    """What a Python of this environment prints, which finds what the image holds."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT / "container"), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_its_model_name_is_asked_of_the_zoo(tmp_path: Path) -> None:
    """Where it is not baked. `load_model()` without a path, `infer` of a bare URI: its own calls.

    The weights are the tests' own, so GluonCV's table of sums is told theirs.
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
    handler = partial(Quiet, directory=str(www))
    with serving(handler) as url:
        said = python(
            *("-c", program, str(www / "sha1.json"), data_uri("cat.jpg")),
            MODEL_NAME=ZOO_MODEL,
            MXNET_GLUON_REPO=url,
            ARTIFACTS_DIR=str(tmp_path),
        )
    answer = json.loads(said)
    labels = {result["label"] for result in answer["results"]}
    assert len(labels) == 5
    assert labels < CIFAR_10


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_infer_takes_a_bare_uri(
    artifact_folder: Path,
    local_upstream: Upstream,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in local_upstream.environment.items():
        monkeypatch.setenv(name, value)
    net = inference.load_model(str(artifact_folder))
    uri = f"{local_upstream.places['http']}/cat.jpg"
    check(inference.infer(uri, net), uri, "tiger cat")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{}", 400, "malformed_request"),
        (b"no JSON", 400, "malformed_request"),
        (b'{"uri": "http://10.0.0.1/cat.jpg"}', 403, "uri_not_allowed"),
        (b'{"uri": "http://example.com:8000/cat.jpg"}', 403, "uri_not_allowed"),
    ],
)
def test_what_the_page_says_that_is_refused(
    http: HttpFace, body: bytes, status: int, code: str
) -> None:
    reply = http.send("POST", "/invocations", JSON, body)
    assert (reply.status, json.loads(reply.body)["error"]["code"]) == (status, code)
    assert reply.headers["content-type"] == "application/json"


@pytest.fixture(scope="module")
def http() -> Iterator[HttpFace]:
    with faces.http_process({**process_environment(), "WORKERS": "1"}) as face:
        yield face


def test_two_symbols_are_one_too_many(folder: Path, tmp_path: Path) -> None:
    two = tmp_path / "two"
    shutil.copytree(folder, two)
    shutil.copy(folder / "model-symbol.json", two / "other-symbol.json")
    with (
        pytest.raises(faces.FaceError, match=r"exactly one \*symbol.json"),
        faces.http_process(process_environment(), ["--model-path", str(two)]),
    ):
        pass


@pytest.mark.docker
def test_its_two_commands_with_its_folder_mounted(image: str, folder: Path) -> None:
    """`docker run -p 8080:8080 IMAGE`, and with `serve`; both on the image's port."""
    body = json.dumps({"uri": data_uri("coffee.png")}).encode()
    mount = f"--volume={folder}:/opt/ml/model:ro"
    with faces.http_container(image, [mount]) as face:
        served = json.loads(face.send("POST", "/invocations", JSON, body).body)
    with faces.lambda_container(image) as function:
        invoked = function.invoke({"uri": data_uri("coffee.png")})
    for answer in (served, invoked):
        check(answer, answer["uri"], "espresso")
