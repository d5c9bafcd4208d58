"""Compare the default model with recorded answers of the original in PyTorch."""

import json
from pathlib import Path

import numpy as np

from serving.model.classifier import Classifier
from support.cases import PHOTOS

LIMIT = 1e-4
RECORDED = json.loads((Path(__file__).parent / "reference" / "efficientnet_lite0.json").read_text())


def test_probabilities_are_those_of_the_original_model(artifact_folder: Path) -> None:
    net = Classifier.load(artifact_folder)
    # The authors' normalisation: docs/02-the-default-model.md.
    assert net.transform.preprocessing.mean == (127 / 255,) * 3
    assert net.transform.preprocessing.std == (128 / 255,) * 3
    assert set(RECORDED["probabilities"]) == {"cat.jpg", "coffee.png", "rocket.jpg"}
    for photo, recorded in RECORDED["probabilities"].items():
        served = net.probabilities((PHOTOS / photo).read_bytes())
        np.testing.assert_allclose(served, recorded, rtol=0, atol=LIMIT)
