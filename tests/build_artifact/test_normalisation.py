"""The figures of docs/02-the-default-model.md that settle how the input is normalised.

The stem's batch norm keeps the mean and the variance that its convolution's output had over the
training images. They bear the mark of the normalisation that those images went through.
"""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from build_artifact.torch_legacy import load_state_dict
from cases import PHOTOS
from ops.faces import ROOT
from serving.classifier import Classifier
from serving.images import Transform, decode

Array = npt.NDArray[Any]

NAMES = ("cat.jpg", "coffee.png", "rocket.jpg", "astronaut.webp")
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
OURS = ((127 / 255,) * 3, (128 / 255,) * 3)
# As published for its pixels: 100,000 of ImageNet's training images.
TINY_IMAGENET_DEVIATION = np.array((0.2770, 0.2691, 0.2821)) * 255


class Stem:
    """The first convolution's live channels, and what batch norm recorded of their output."""

    def __init__(self, weights: Path) -> None:
        state = load_state_dict(weights)
        live = state["_bn0.running_var"] > 0  # dead ones have no weights and tell nothing
        assert np.abs(state["_conv_stem.weight"][~live]).max() < 1e-6
        self.kernel: Array = state["_conv_stem.weight"][live].astype(np.float64)
        self.mean: Array = state["_bn0.running_mean"][live].astype(np.float64)
        self.variance: Array = state["_bn0.running_var"][live].astype(np.float64)

    def output(self, image: Array) -> Array:
        """Stride 2 and TensorFlow's SAME padding, which for 224 is one zero below and right."""
        padded = np.pad(image, ((0, 0), (0, 1), (0, 1)))
        output = np.zeros((len(self.kernel), 112, 112))
        for i, j in itertools.product(range(3), range(3)):
            seen = padded[:, i : i + 223 : 2, j : j + 223 : 2]
            output += np.tensordot(self.kernel[:, :, i, j], seen, axes=1)
        return output.reshape(len(self.kernel), -1)

    def input_mean(self) -> Array:
        """The mean of each input channel that explains the recorded means best."""
        mean: Array = np.linalg.lstsq(self.kernel.sum((2, 3)), self.mean, rcond=None)[0]
        return mean

    def input_deviation(self) -> tuple[Array, float]:
        """The deviation of each input channel that explains the recorded variances best, and how
        far these are missed (relative, root mean square).

        Seven unknowns for all channels: the covariances of red, green and blue in a pixel, and by
        what factor they fall from one pixel to the next.
        """
        places = np.array(list(itertools.product(range(3), range(3))))
        distance = np.hypot(*np.moveaxis(places[:, None] - places, -1, 0))
        taps = self.kernel.reshape(len(self.kernel), 3, 9)
        colours = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]
        best = (np.empty(0), np.inf)
        for fall in np.linspace(0.8, 0.999, 200):
            terms = np.stack(
                [
                    (1 if a == b else 2)
                    * np.einsum("oi,ij,oj->o", taps[:, a], fall**distance, taps[:, b])
                    for a, b in colours
                ],
                axis=1,
            )
            relative = terms / self.variance[:, None]
            covariances = np.linalg.lstsq(relative, np.ones(len(relative)), rcond=None)[0]
            miss = float(np.sqrt(np.mean((relative @ covariances - 1) ** 2)))
            if miss < best[1]:
                best = (np.sqrt(covariances[:3]), miss)
        return best


class Figures:
    """What follows if the training images were normalised with `mean` and `std`."""

    def __init__(self, stem: Stem, net: Classifier, mean: Array, std: Array) -> None:
        transform = Transform(256, 224, tuple(mean), tuple(std))
        pixels = {name: decode((PHOTOS / name).read_bytes()) for name in NAMES}
        outputs = [stem.output(transform(p)[0].astype(np.float64)) for p in pixels.values()]
        pooled = np.concatenate(outputs, axis=1)
        self.ratio = float(np.median(pooled.var(1) / stem.variance))
        self.ratios = sorted(float(np.median(o.var(1) / stem.variance)) for o in outputs)
        away = np.abs(pooled.mean(1) - stem.mean) / np.sqrt(stem.variance)
        self.mean_distance = float(np.median(away))
        self.pixel_deviation = stem.input_deviation()[0] * std * 255
        self.pixel_mean = (stem.input_mean() * std + mean) * 255
        other = dataclasses.replace(net, transform=transform)
        photos = [(PHOTOS / name).read_bytes() for name in NAMES]
        self.top = [float(other.probabilities(photo).max()) for photo in photos]

    def quoted(self) -> dict[str, str]:
        """A column of the document's table."""
        return {
            "variance of the photographs / recorded": f"{self.ratio:.2f}",
            "the same, photograph by photograph": f"{self.ratios[0]:.2f} to {self.ratios[-1]:.2f}",
            "distance of the means, in recorded deviations": f"{self.mean_distance:.2f}",
            "deviation of the training pixels (R, G, B)": _triple(self.pixel_deviation),
            "mean of the training pixels (R, G, B)": _triple(self.pixel_mean),
        } | {f"top probability, `{name}`": f"{top:.3f}" for name, top in zip(NAMES, self.top)}


@pytest.fixture(scope="module")
def stem(weights: Path) -> Stem:
    return Stem(weights)


@pytest.fixture(scope="module")
def net(artifact_folder: Path) -> Classifier:
    return Classifier.load(artifact_folder)


@pytest.fixture(scope="module")
def ours(stem: Stem, net: Classifier) -> Figures:
    return Figures(stem, net, *map(np.array, OURS))


@pytest.fixture(scope="module")
def imagenets(stem: Stem, net: Classifier) -> Figures:
    return Figures(stem, net, *map(np.array, IMAGENET))


def test_the_artifact_is_served_with_the_authors_normalisation(net: Classifier) -> None:
    assert (net.transform.mean, net.transform.std) == OURS


def test_the_photographs_vary_as_the_training_images_did(ours: Figures, imagenets: Figures) -> None:
    assert 0.5 < ours.ratio < 2 < imagenets.ratio
    assert abs(np.log(ours.ratio)) < abs(np.log(imagenets.ratio))
    assert ours.mean_distance < imagenets.mean_distance


def test_the_training_images_varied_as_imagenet_does(
    stem: Stem, ours: Figures, imagenets: Figures
) -> None:
    assert stem.input_deviation()[1] < 0.05
    assert np.abs(ours.pixel_deviation / TINY_IMAGENET_DEVIATION - 1).max() < 0.1
    assert (imagenets.pixel_deviation / TINY_IMAGENET_DEVIATION).max() < 0.5


def test_every_answer_is_surer(ours: Figures, imagenets: Figures) -> None:
    assert all(a > b for a, b in zip(ours.top, imagenets.top))


def test_the_document_quotes_these_figures(stem: Stem, ours: Figures, imagenets: Figures) -> None:
    document = (ROOT / "docs" / "02-the-default-model.md").read_text()
    lines = document.splitlines()
    second = imagenets.quoted()
    rows = [f"| {what} | {first} | {second[what]} |" for what, first in ours.quoted().items()]
    assert [row for row in rows if row not in lines] == []
    text = " ".join(document.split())
    assert f"{len(stem.variance)} of its 32 channels" in text
    assert f"within {stem.input_deviation()[1]:.1%}" in text
    assert f"about {_triple(TINY_IMAGENET_DEVIATION)} grey levels" in text


def _triple(values: Array) -> str:
    return ", ".join(f"{value:.0f}" for value in values)
