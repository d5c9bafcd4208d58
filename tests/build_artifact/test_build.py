"""`python -m build_artifact NAME OUTPUT_DIR`, run as a user runs it."""

import functools
import http.server
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cases import PHOTOS
from ops.faces import ROOT
from serving import artifact, engines, inference
from serving import manifest as manifest_of
from serving.classifier import Classifier
from serving.contract import Payload
from serving.images import decode

ZOO_STAND_IN = Path(__file__).with_name("zoo_stand_in.py")

Build = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def build(tmp_path: Path, exporter: Path) -> Build:
    """Run the command. A shell script, if one is given, takes the exporter's place."""

    def build(
        name: str, output: Path, *options: str | Path, script: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        python = exporter
        if script:
            python = tmp_path / "exporter"
            python.write_text(f"#!/bin/sh\nset -e\n{script}\n")
            python.chmod(0o755)
        return subprocess.run(
            [sys.executable, "-m", "build_artifact", name, output, "--exporter", python, *options],
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT / "container"),
                "NO_PROXY": "127.0.0.1",
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
        )

    return build


class Zoo:
    """A model zoo at a URL, and the exporter that knows its weights."""

    def __init__(self, www: Path, url: str, exporter: Path) -> None:
        self.www, self.url = www, url
        self.script = f"exec '{exporter}' '{ZOO_STAND_IN}' '{www}' \"$@\""


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory, exporter: Path) -> Iterator[Zoo]:
    www = tmp_path_factory.mktemp("www")
    names = ["mobilenet0.25", "cifar_resnet20_v1", "resnet50_v1b_gn"]
    subprocess.run([exporter, ZOO_STAND_IN, "make", www, *names], check=True)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Not into the tests' output."""

    handler = functools.partial(Handler, directory=str(www))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield Zoo(www, f"http://127.0.0.1:{server.server_port}", exporter)
        server.shutdown()


@pytest.mark.filterwarnings("ignore:::mxnet")  # its own use of what NumPy and SciPy deprecate
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mobilenet0.25", (224, 256, [0.485, 0.456, 0.406], 1000, "tench", "toilet tissue")),
        ("cifar_resnet20_v1", (32, 32, [0.4914, 0.4822, 0.4465], 10, "airplane", "truck")),
    ],
)
def test_a_model_of_the_zoo(
    build: Build, zoo: Zoo, tmp_path: Path, name: str, expected: tuple[Any, ...]
) -> None:
    size, resize_short, mean, *labels = expected
    folder = tmp_path / "artifacts" / name
    done = build(name, folder, script=zoo.script, MXNET_GLUON_REPO=zoo.url)
    assert (done.returncode, done.stderr) == (0, "")

    checked = artifact.check(folder)
    assert done.stdout.splitlines()[-1] == f"{folder}: model id {checked.model_id}"
    assert [path.name for path in folder.parent.iterdir()] == [name]
    manifest = checked.manifest
    assert manifest["name"] == name
    assert manifest["input"]["shape"] == [1, 3, size, size]
    made = manifest["preprocessing"]
    assert (made["crop"], made["resize_short"], made["mean"]) == (size, resize_short, mean)
    assert manifest["max_probability_difference"] == 1e-5
    assert manifest["files"] == {
        file: manifest_of.sha256(folder / file)
        for file in (
            *("labels.txt", "model-0000.params", "model-symbol.json"),
            *("model.onnx", "model.onnx.data"),
        )
    }

    net = inference.load_model(folder)
    names = net.classifier.labels
    assert (len(names), names[0], names[-1]) == tuple(labels)
    on_mxnet = tmp_path / "on_mxnet"
    on_mxnet.mkdir()
    for file in ("model-0000.params", "model-symbol.json"):
        (on_mxnet / file).symlink_to(folder / file)
    other = engines.load(on_mxnet, threads=1)
    for photo in ("cat.jpg", "astronaut.webp"):
        image = (PHOTOS / photo).read_bytes()
        logits = other(net.classifier.transform(decode(image)))[0]
        probabilities = np.exp(logits) / np.exp(logits).sum()
        assert probabilities.max() > 2 * probabilities.mean()  # some answer, not all alike
        served = net.classifier.probabilities(image)
        np.testing.assert_allclose(served, probabilities, atol=1e-5)

    answer = inference.infer(Payload((PHOTOS / "cat.jpg").read_bytes(), "image/jpeg"), net)
    assert len({result["label"] for result in answer["results"]}) == 5


def test_the_default_model_builds_the_same_twice(
    build: Build, tmp_path: Path, artifact_folder: Path
) -> None:
    done = build("efficientnet_lite0", tmp_path / "again")
    assert (done.returncode, done.stderr) == (0, "")
    first, second = artifact.check(artifact_folder), artifact.check(tmp_path / "again")
    assert first.manifest == second.manifest
    assert first.model_id == second.model_id


@pytest.fixture
def refused(build: Build, tmp_path: Path) -> Callable[..., str]:
    """Run the command, which must fail, leave an earlier artifact alone and say one line."""

    def refused(name: str, *options: str | Path, **more: str) -> str:
        output = tmp_path / "artifacts" / "earlier"
        output.mkdir(parents=True)
        (output / "manifest.json").write_text("an earlier artifact's")
        done = build(name, output, *options, **more)
        assert done.returncode == 1
        assert (output / "manifest.json").read_text() == "an earlier artifact's"
        assert [path.name for path in output.parent.iterdir()] == ["earlier"]
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: ")
        return line.removeprefix("error: ")

    return refused


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("mobilenet_1.0", "; did you mean mobilenet1.0 or mobilenetv2_1.0 or mobilenet0.5?"),
        ("shufflenet_v1", "; did you mean senet_154?"),  # the zoo has no trained weights for it
        ("yolo3_darknet53_coco", "; did you mean darknet53?"),  # it finds objects
        ("?", ""),
    ],
)
def test_refuses_another_name(refused: Callable[..., str], name: str, hint: str) -> None:
    assert refused(name) == (
        f"{name!r} is no classification model of the GluonCV zoo with trained weights{hint}"
    )


def test_refuses_weights_that_are_not_there(refused: Callable[..., str], zoo: Zoo) -> None:
    line = refused("resnet18_v1", MXNET_GLUON_REPO=zoo.url)
    assert line.startswith("the weights of 'resnet18_v1' cannot be downloaded: ")
    assert f"{zoo.url}/gluon/models/resnet18_v1-a0666292.zip" in line


def test_refuses_weights_with_another_hash(refused: Callable[..., str], zoo: Zoo) -> None:
    """Under the published name, and without the stand-in's table."""
    models = zoo.www / "gluon" / "models"
    with zipfile.ZipFile(next(models.glob("mobilenet0.25-*.zip"))) as ours:
        (weights,) = map(ours.read, ours.namelist())
    with zipfile.ZipFile(models / "mobilenet0.25-f0046a3d.zip", "w") as other:
        other.writestr("mobilenet0.25-f0046a3d.params", weights)
    assert refused("mobilenet0.25", MXNET_GLUON_REPO=zoo.url) == (
        "the weights of 'mobilenet0.25' cannot be downloaded: "
        "Downloaded file has different hash. Please try again."
    )


def test_refuses_a_model_that_mxnet_cannot_export(refused: Callable[..., str], zoo: Zoo) -> None:
    """GluonCV's group norm reshapes with a call that MXNet 1.9 knows only outside a graph."""
    line = refused("resnet50_v1b_gn", script=zoo.script, MXNET_GLUON_REPO=zoo.url)
    assert line.startswith("MXNet cannot export 'resnet50_v1b_gn': ")
    assert "operator Reshape" in line


def test_refuses_an_operator_that_onnx_lacks(
    refused: Callable[..., str], exporter: Path, tmp_path: Path
) -> None:
    """Every published model's operators have a converter, so one is taken away."""
    without_clip = tmp_path / "without_clip.py"
    without_clip.write_text(
        "import runpy, sys, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "from mxnet.onnx.mx2onnx._export_onnx import MXNetGraph\n"
        "del MXNetGraph.registry_[12]['clip']\n"
        "sys.argv = sys.argv[2:]\n"
        "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)\n"
    )
    script = f"exec '{exporter}' '{without_clip}' \"$@\""
    assert refused("efficientnet_lite0", script=script) == (
        "'efficientnet_lite0' cannot be exported to ONNX: "
        "No conversion function registered for op type clip yet."
    )


@pytest.fixture
def exported(tmp_path: Path, artifact_folder: Path) -> Callable[[float], str]:
    """The script of an exporter whose MXNet differs from ONNX Runtime by so much."""

    def exported(difference: float) -> str:
        classifier = Classifier.load(artifact_folder)
        probabilities = classifier.probabilities((PHOTOS / "cat.jpg").read_bytes())
        probabilities[500] += difference
        np.savez(tmp_path / "reference.npz", **{"cat.jpg": probabilities})
        # $4 and $6: -m build_artifact.export NAME FOLDER PHOTOS REFERENCE
        return f"cp -R '{artifact_folder}/.' \"$4\"\ncp '{tmp_path}/reference.npz' \"$6\""

    return exported


@pytest.mark.parametrize(("difference", "said"), [(1.1e-5, "1.1e-05"), (float("nan"), "nan")])
def test_refuses_engines_that_differ(
    refused: Callable[..., str], exported: Callable[[float], str], difference: float, said: str
) -> None:
    assert refused("efficientnet_lite0", script=exported(difference)) == (
        f"efficientnet_lite0 is refused: MXNet and ONNX Runtime differ by {said} in a probability, "
        "and 1e-05 is the limit"
    )


def test_records_a_difference_within_the_limit(
    build: Build, exported: Callable[[float], str], tmp_path: Path
) -> None:
    output = tmp_path / "artifact"
    done = build("efficientnet_lite0", output, script=exported(2e-6))
    assert (done.returncode, done.stderr) == (0, "")
    assert artifact.check(output).manifest["max_probability_difference"] == 1e-5


def test_refuses_to_compare_on_nothing(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    assert refused("efficientnet_lite0", "--photos", tmp_path / "photos") == (
        f"{tmp_path}/photos holds no .jpg or .png photograph to compare the engines on"
    )


def test_refuses_a_folder_of_another_kind(build: Build, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    for output in (tmp_path, tmp_path / "thesis.tex"):
        done = build("efficientnet_lite0", output)
        assert done.returncode == 1
        assert done.stderr == (
            f"error: {output} holds something that is no artifact; name another folder\n"
        )
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_refuses_an_exporter_that_is_not_there(refused: Callable[..., str]) -> None:
    assert refused("efficientnet_lite0", "--exporter", "/nowhere/python") == (
        "--exporter /nowhere/python cannot be run: No such file or directory"
    )
