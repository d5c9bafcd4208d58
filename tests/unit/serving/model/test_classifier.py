"""Check classifiers before any request, with each command that loads one.

The models are small versions of those in public reports.
"""

import shutil
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from build_artifact.__main__ import build
from build_artifact.check import check
from ops.local_servers import ROOT
from serving import inference
from serving.artifact import labels, manifest, resolve
from serving.artifact.preprocessing import Preprocessing
from serving.core.errors import StartError
from serving.core.settings import Settings
from serving.model.classifier import Classifier
from serving.model.images import decode
from support.cases import PHOTOS

MODELS = ROOT / "tests" / "support" / "models"
PHOTO = (PHOTOS / "cat.jpg").read_bytes()
COLOURS = {"input_size": 8, "resize_short": 8, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def built(folder: Path, output: Path, **options: object) -> Path:
    """Run `build_artifact own OUTPUT --onnx FOLDER/model.onnx`; return the artifact's folder."""
    given = {"onnx": folder / "model.onnx", "network": None, "labels": None, **COLOURS, **options}
    build(Namespace(name="own", output=output, **{"probabilities": False, **given}))
    return output


WAYS: dict[str, Callable[[Path, Path], object]] = {
    "start, and the image's build": lambda folder, _: inference.load_model(folder),
    "ops package": lambda folder, _: check(folder),
    "build_artifact": built,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nan", "the model's answer is not finite"),
        ("softmax", "the model ends in a softmax, and the server would apply a second one; export"),
        ("one_class", r"the model answers an array of \[1, 1\]; it must be .* two classes or more"),
    ],
)
def test_each_way_refuses_a_wrong_model(name: str, message: str, way: str, tmp_path: Path) -> None:
    with pytest.raises(StartError, match=message):
        WAYS[way](MODELS / name, tmp_path / "artifact")
    assert not (tmp_path / "artifact").exists()


def test_a_symbol_for_training_is_refused(tmp_path: Path) -> None:
    folder = MODELS / "mx_SoftmaxOutput"
    message = "cats-symbol.json has the operator SoftmaxOutput, which is for training and needs la"
    with pytest.raises(StartError, match=message):
        resolve.check(folder)
    with pytest.raises(StartError, match=message):
        built(folder, tmp_path / "cats", network=folder, onnx=None)


def test_a_softmax_is_served_if_the_manifest_says_so(tmp_path: Path) -> None:
    folder = built(MODELS / "softmax", tmp_path / "own", probabilities=True)
    assert manifest.read(folder)["output"] == "probabilities"
    net = Classifier.load(folder)
    tensor = net.transform(decode(PHOTO))
    np.testing.assert_array_equal(net.probabilities(PHOTO), net.forward(tensor)[0])
    with pytest.raises(StartError, match='has "output": "probabilities", but the sum of the model'):
        built(MODELS / "good", tmp_path / "good", probabilities=True)
    manifest.write(folder, {**manifest.read(folder), "output": "softmax"})
    with pytest.raises(StartError, match="output must be 'logits' or 'probabilities'"):
        Classifier.load(folder)


def test_an_onnx_classifier_gets_its_manifest_from_a_command(tmp_path: Path) -> None:
    folder = MODELS / "no_manifest"
    with pytest.raises(StartError, match=r"`python -m build_artifact NAME OUTPUT_DIR --onnx .*`"):
        resolve.check(folder)
    own = built(folder, tmp_path / "own")
    facts = manifest.read(own)
    assert (facts["name"], facts["source"]) == ("own", {"onnx": "model.onnx"})
    assert facts["input"]["shape"] == [1, 3, 8, 8]
    assert check(own)["warnings"] == []
    served = Classifier.load(own).probabilities(PHOTO)
    np.testing.assert_allclose(served, Classifier.load(MODELS / "good").probabilities(PHOTO), 1e-6)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"preprocessing": {"interpolation": "cubic"}}, "std 0, and nothing else"),
        ({"preprocessing": {"std": [255, 255, 255]}}, "divide those for values from 0 to 255 by"),
        ({"input": {"layout": "NHWC, BGR"}}, "has input NHWC, BGR, but its preprocessing makes"),
        ({"input": {"shape": [1, 3, "height", 9]}}, r"has input \[1, 3, 'height', 9\], but its"),
    ],
)
def test_a_manifest_that_contradicts_the_pipeline_is_refused(
    facts: dict[str, dict[str, object]], message: str
) -> None:
    whole = manifest.read(MODELS / "good")
    changed = {name: {**whole.get(name, {}), **values} for name, values in facts.items()}
    with pytest.raises(StartError, match=message):
        Preprocessing.check({**whole, **changed}, "here")


@pytest.mark.filterwarnings("ignore:::mxnet")
def test_a_folder_of_only_symbol_and_params(tmp_path: Path, artifact_folder: Path) -> None:
    """The proof of concept's artifact has GluonCV's transform and ImageNet's labels."""
    shutil.copy(artifact_folder / "model-symbol.json", tmp_path / "x-symbol.json")
    shutil.copy(artifact_folder / "model-0000.params", tmp_path / "x-0000.params")
    assert resolve.resolve(Settings(), tmp_path).manifest == {}
    net = Classifier.load(tmp_path)
    found = net.probabilities((PHOTOS / "coffee.png").read_bytes())
    # ImageNet's normalisation gives this. The manifest's, which the folder lacks, gives 0.95.
    best = (net.labels[found.argmax()], float(found.max()))
    assert best == ("espresso", pytest.approx(0.7734, abs=1e-3))


def test_an_answer_of_shape_1_classes_1_1_is_a_vector() -> None:
    net = Classifier.load(MODELS / "nc11")
    assert net.probabilities(PHOTO).shape == (len(net.labels),)


def test_an_answer_that_is_not_finite_is_a_fault() -> None:
    """test_service tests what follows from a fault: 500, and pings with 503."""
    net = Classifier.load(MODELS / "good")
    forward = net.forward
    net.forward = lambda batch: forward(batch) * np.float32(np.nan)
    with pytest.raises(ArithmeticError, match="the model's answer is not finite"):
        net.probabilities(PHOTO)


def test_labels_of_windows(tmp_path: Path) -> None:
    expected = tuple(f"class{number}" for number in range(5))
    assert Classifier.load(MODELS / "labels_bom_crlf").labels == expected
    (tmp_path / "labels.txt").write_text("a\u2028b\nc\x0cd\n", encoding="utf-8")
    assert labels.read(tmp_path) == ("a\u2028b", "c\x0cd")  # only a line feed ends a label


@pytest.mark.filterwarnings("ignore:::mxnet")  # it uses names that SciPy deprecates
def test_files_of_macos_are_ignored(tmp_path: Path) -> None:
    found = check(MODELS / "mx_macos")
    assert found["names"] == ["cats-0000.params", "cats-symbol.json", "labels.txt"]
    for name in found["names"]:
        shutil.copy(MODELS / "mx_macos" / name, tmp_path)
    assert resolve.check(tmp_path).model_id == found["model_id"]
    assert len(Classifier.load(MODELS / "mx_macos").probabilities(PHOTO)) == 5
