"""The request of every benchmark, and the check that a server answered it rightly."""

import json
import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from bench.load import WrongAnswer
from ops.local_servers import ROOT
from serving import inference
from serving.artifact.resolve import resolve
from serving.core.contract import Payload
from serving.core.settings import Settings

TOLERANCE = 1e-5  # of a probability; the artifact's builder holds two engines to the same

Classes = Sequence[tuple[str, float]]  # label and probability, most probable first


def photograph() -> bytes:
    """Return the picture of every request: a JPEG of 640x480."""
    pixels = cv2.imread(str(ROOT / "container" / "photos" / "coffee.png"))
    small = cv2.resize(pixels, (640, 480), interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 90])[1])


def expected_answer(settings: Settings, photo: bytes) -> bytes:
    """Return the right answer about a picture, found without a server. Raise StartError."""
    net = inference.load_model(resolve(settings).folder)
    return json.dumps(inference.infer(Payload(photo, "image/jpeg"), net)).encode()


def expected_classes(settings: Settings, photo: bytes) -> Classes:
    """Return the classes of the right answer. Raise StartError."""
    return classes(json.loads(expected_answer(settings, photo)))


def classes(document: Any) -> Classes:
    """Return the classes in `{"results": [{"label": ..., "prob": ...}, ...]}`."""
    return [(one["label"], float(one["prob"])) for one in document["results"]]


class Gate:
    """Let right answers pass, whatever a server wraps them in.

    A body that passed once is compared by its bytes from then on: the load generator shares the
    CPUs with the server, and parses nothing twice.
    """

    def __init__(self, expected: Classes, tolerance: float = TOLERANCE) -> None:
        """Take the expected classes, and how far a probability may differ from them."""
        self._expected, self._tolerance = expected, tolerance
        self._passed: set[bytes] = set()

    def check(self, status: int, body: bytes) -> None:
        """Raise WrongAnswer for anything but a 200 with the expected classes."""
        if status == 200 and body in self._passed:
            return
        difference = self._difference(body) if status == 200 else math.inf
        if not difference <= self._tolerance:  # so written, it holds for NaN
            raise WrongAnswer(
                f"wrong answer: {status} {body[:300]!r}; expected 200 and {self._expected}, each "
                f"within {self._tolerance:g}"
            )
        self._passed.add(body)

    def _difference(self, body: bytes) -> float:
        """Return the largest difference of a probability; infinity if the labels differ."""
        try:
            labels, found = zip(*classes(json.loads(body)))
        except (ValueError, KeyError, TypeError):
            return math.inf
        expected_labels, expected = zip(*self._expected)
        if labels != expected_labels:
            return math.inf
        return float(np.max(np.abs(np.subtract(found, expected))))
