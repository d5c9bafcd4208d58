"""The request of every benchmark, and the check of every answer."""

import json
import math
from collections.abc import Sequence

import cv2
import numpy as np

from bench.load import WrongAnswer
from ops.local_servers import ROOT
from serving import inference
from serving.artifact.resolve import resolve
from serving.core.contract import Payload
from serving.core.settings import Settings


def photograph() -> bytes:
    """Return the picture of every request: a JPEG of 640x480."""
    pixels = cv2.imread(str(ROOT / "container" / "photos" / "coffee.png"))
    small = cv2.resize(pixels, (640, 480), interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 90])[1])


def expected_answer(settings: Settings, photo: bytes) -> bytes:
    """Compute the correct answer without a server. Raise StartError."""
    net = inference.load_model(resolve(settings).folder)
    return json.dumps(inference.infer(Payload(photo, "image/jpeg"), net)).encode()


class Gate:
    """Check answers by their classes, whatever else a server returns.

    A body that passed once is compared by its bytes from then on, because the load generator shares
    the CPUs with the server.
    """

    def __init__(self, expected: bytes, tolerance: float = 1e-5) -> None:
        # 1e-5 is also the tolerance of the artifact's builder.
        self._expected, self._tolerance = _classes(expected), tolerance
        self._passed: set[bytes] = set()

    def check(self, status: int, body: bytes) -> None:
        """Raise WrongAnswer for anything but a 200 with the expected classes."""
        if status == 200 and body in self._passed:
            return
        difference = self._difference(body) if status == 200 else math.inf
        if not difference <= self._tolerance:  # also True for NaN
            raise WrongAnswer(
                f"wrong answer: {status} {body[:300]!r}; expected 200 and {self._expected}, each "
                f"within {self._tolerance:g}"
            )
        self._passed.add(body)

    def _difference(self, body: bytes) -> float:
        """Return the largest difference of a probability, or infinity if the labels differ."""
        try:
            labels, found = zip(*_classes(body))
        except (ValueError, KeyError, TypeError):
            return math.inf
        expected_labels, expected = zip(*self._expected)
        if labels != expected_labels:
            return math.inf
        return float(np.max(np.abs(np.subtract(found, expected))))


def _classes(body: bytes) -> Sequence[tuple[str, float]]:
    """Return label and probability of each class in the answer, in its order."""
    return [(one["label"], float(one["prob"])) for one in json.loads(body)["results"]]
