"""The default model against the original one in PyTorch: tests/reference/make.py."""

import json
from pathlib import Path

import numpy as np

from cases import PHOTOS
from ops.faces import ROOT
from serving.classifier import Classifier

LIMIT = 1e-4
RECORDED = json.loads((ROOT / "tests" / "reference" / "efficientnet_lite0.json").read_text())


def test_probabilities_are_those_of_the_original_model(artifact_folder: Path) -> None:
    net = Classifier.load(artifact_folder)
    differences = {}
    for photo, recorded in RECORDED["probabilities"].items():
        served = net.probabilities((PHOTOS / photo).read_bytes())
        assert len(recorded) == len(served) == len(net.labels) == 1000
        differences[photo] = float(np.abs(served - np.array(recorded)).max())
    assert set(differences) == {"cat.jpg", "coffee.png", "rocket.jpg"}
    assert max(differences.values()) <= LIMIT, f"largest differences of a probability {differences}"
