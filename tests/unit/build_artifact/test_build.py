"""Test `python -m build_artifact NAME OUTPUT_DIR` as a user runs it."""

import subprocess
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from unit.build_artifact.conftest import Build

from serving import inference
from serving.artifact import manifest as manifest_of
from serving.artifact import resolve as artifact
from serving.core.contract import Payload
from serving.model import engines
from serving.model.classifier import Classifier
from serving.model.images import decode
from support.cases import PHOTOS
from support.upstream import listening

ZOO_STAND_IN = Path(__file__).with_name("zoo_stand_in.py")


class Zoo(NamedTuple):
    """A model zoo: its folder, its URL, and the script of an exporter that knows its weights."""

    www: Path
    url: str
    script: str


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory, exporter: Path) -> Iterator[Zoo]:
    www = tmp_path_factory.mktemp("www")
    names = ["mobilenet0.25", "cifar_resnet20_v1"]
    subprocess.run([exporter, ZOO_STAND_IN, "make", www, *names], check=True)
    with listening(partial(SimpleHTTPRequestHandler, directory=str(www))) as url:
        yield Zoo(www, url, f"exec '{exporter}' '{ZOO_STAND_IN}' '{www}' \"$@\"")


@pytest.mark.filterwarnings("ignore:::mxnet")  # it uses names that NumPy and SciPy deprecate
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
    files = ["model-0000.params", "model-symbol.json"]
    expected_files = ["labels.txt", *files, "model.onnx", "model.onnx.data"]
    assert manifest["files"] == {x: manifest_of.sha256(folder / x) for x in expected_files}

    net = inference.load_model(folder)
    names = net.classifier.labels
    assert (len(names), names[0], names[-1]) == tuple(labels)
    on_mxnet = tmp_path / "on_mxnet"
    on_mxnet.mkdir()
    for file in files:
        (on_mxnet / file).symlink_to(folder / file)
    other = engines.load(on_mxnet, threads=1)
    for photo in ("cat.jpg", "astronaut.webp"):
        image = (PHOTOS / photo).read_bytes()
        logits = other(net.classifier.transform(decode(image)))[0]
        probabilities = np.exp(logits) / np.exp(logits).sum()
        assert probabilities.max() > 2 * probabilities.mean()  # the classes differ
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
    """Return a function that runs the command, which must fail and keep an earlier artifact."""

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
    ("arguments", "message"),
    [
        (
            ["mobilenet_1.0"],
            "'mobilenet_1.0' is not a classification model of the GluonCV zoo with trained "
            "weights; did you mean mobilenet1.0 or mobilenetv2_1.0 or mobilenet0.5?",
        ),
        (
            ["efficientnet_lite0", "--photos", "/usr"],
            "/usr holds no .jpg or .png photograph to compare the engines on",
        ),
        (
            ["efficientnet_lite0", "--exporter", "/nowhere/python"],
            "--exporter /nowhere/python cannot be run: No such file or directory",
        ),
    ],
)
def test_refuses_wrong_arguments(
    arguments: list[str], message: str, refused: Callable[..., str]
) -> None:
    assert refused(*arguments) == message


def test_refuses_weights_with_another_hash(refused: Callable[..., str], zoo: Zoo) -> None:
    """The weights have the published name. The exporter has the published SHA-1."""
    models = zoo.www / "gluon" / "models"
    with zipfile.ZipFile(next(models.glob("mobilenet0.25-*.zip"))) as ours:
        (weights,) = map(ours.read, ours.namelist())
    with zipfile.ZipFile(models / "mobilenet0.25-f0046a3d.zip", "w") as other:
        other.writestr("mobilenet0.25-f0046a3d.params", weights)
    assert refused("mobilenet0.25", MXNET_GLUON_REPO=zoo.url) == (
        "the weights of 'mobilenet0.25' cannot be downloaded: "
        "Downloaded file has different hash. Please try again."
    )


def test_refuses_an_operator_that_onnx_lacks(
    refused: Callable[..., str], exporter: Path, tmp_path: Path
) -> None:
    """Each published model's operators have a converter, so the test removes one."""
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


@pytest.mark.parametrize("difference", [1.1e-5, float("nan")])
def test_refuses_engines_that_differ(
    refused: Callable[..., str], tmp_path: Path, artifact_folder: Path, difference: float
) -> None:
    """The exporter is a script that copies the artifact and reports other probabilities."""
    classifier = Classifier.load(artifact_folder)
    probabilities = classifier.probabilities((PHOTOS / "cat.jpg").read_bytes())
    probabilities[500] += difference
    np.savez(tmp_path / "reference.npz", **{"cat.jpg": probabilities})
    # $4 and $6: -m build_artifact.export NAME FOLDER PHOTOS REFERENCE
    script = f"cp -R '{artifact_folder}/.' \"$4\"\ncp '{tmp_path}/reference.npz' \"$6\""
    assert refused("efficientnet_lite0", script=script) == (
        f"efficientnet_lite0 is refused: MXNet and ONNX Runtime differ by {difference} in a "
        "probability, and 1e-05 is the limit"
    )


def test_refuses_a_folder_of_another_kind(build: Build, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    for output in (tmp_path, tmp_path / "thesis.tex"):
        done = build("efficientnet_lite0", output)
        assert done.returncode == 1
        assert done.stderr == (f"error: {output} is not an artifact; name another folder\n")
    assert (tmp_path / "thesis.tex").read_text() == "mine"
