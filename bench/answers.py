"""The request of every benchmark, and the check of every answer."""

import json
from functools import cache

import cv2
import numpy as np

from bench.load import Check, WrongAnswer
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


def check_of(expected: bytes, tolerance: float = 1e-5) -> Check:
    """Return a check of answers by their classes, whatever else a server returns.

    The tolerance is that of the artifact's builder.
    """
    labels, probabilities = _classes(expected)

    @cache  # the load generator shares the CPUs with the server; exceptions are not cached
    def check(status: int, body: bytes) -> None:
        """Raise WrongAnswer for anything but a 200 with the expected classes."""
        try:
            found_labels, found = _classes(body)
            right = status == 200 and found_labels == labels
            right = right and np.allclose(found, probabilities, rtol=0, atol=tolerance)
        except (ValueError, KeyError, TypeError):
            right = False
        if not right:
            raise WrongAnswer(
                f"wrong answer: {status} {body[:300]!r}; expected 200 and {expected!r}, each "
                f"probability within {tolerance:g}"
            )

    return check


def _classes(body: bytes) -> tuple[list[str], list[float]]:
    """Return the labels and the probabilities of an answer, in its order."""
    results = json.loads(body)["results"]
    return [one["label"] for one in results], [float(one["prob"]) for one in results]
