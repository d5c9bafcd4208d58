"""Find handwritten digits in a picture. The network is PyTorch's, run as ONNX.

A request is the bytes of a picture, or `{"uri": ...}`; the answer is

    {"size": [width, height], "digits": [{"digit": 7, "box": [x, y, width, height], "score": 0.98}]}

from left to right, in pixels of the picture. Ink and paper may be dark on light or light on dark.
"""

from os import environ
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from serving.core.contract import Payload, Record
from serving.core.errors import MalformedRequest
from serving.core.settings import Settings
from serving.fetch.client import Fetcher
from serving.model import engines
from serving.model.fifo_lock import FifoLock
from serving.model.images import decode

PAYLOAD_TYPES = frozenset({"image/jpeg", "image/png", "image/webp", "application/x-image"})
SIDE = 128  # pixels of the network's square input
CELL = 4  # pixels of the input for one cell of its output
CORE = 0.5  # the part of a digit, around its middle, that the network marks
LEAST_SCORE = 0.5


class Net(NamedTuple):
    """A loaded model. One picture at a time: two forwards would share a core."""

    forward: engines.Forward
    fetcher: Fetcher
    lock: FifoLock


class Found(NamedTuple):
    """A digit, the box around it (x, y, width, height) and how sure the network is, to 1."""

    digit: int
    box: tuple[int, int, int, int]
    score: float


def load_model(model_path: Path) -> Net:
    """Load `model.onnx` of the artifact. Raises StartError."""
    settings = Settings.from_environment(environ)
    forward = engines.load(model_path, settings.threads)
    return Net(forward, Fetcher.from_settings(settings), FifoLock())


def infer(request: Record, net: Net) -> dict[str, Any]:
    """Return the digits of one picture. Raises a ServingError."""
    picture = decode(_bytes(request, net.fetcher))
    tensor, scale = _tensor(picture)
    with net.lock:
        logits = net.forward(tensor)[0]
    found = [
        {
            "digit": each.digit,
            "box": [round(side / scale) for side in each.box],
            "score": round(each.score, 4),
        }
        for each in digits_in(logits)
    ]
    height, width = picture.shape[:2]
    return {"size": [width, height], "digits": found}


def warm_up(net: Net) -> None:
    """Run one forward, of an empty page."""
    net.forward(np.zeros((1, 1, SIDE, SIDE), np.float32))


def digits_in(logits: engines.Tensor) -> list[Found]:
    """Return the digits that the network's output (11, rows, columns) marks, from left to right.

    Cells that touch are one digit: their mean probability says which, and the box around them is
    widened, since the network marks only a digit's middle.
    """
    exponentials = np.exp(logits - logits.max(axis=0))
    probabilities = exponentials / exponentials.sum(axis=0)
    marked = (probabilities[10] < 0.5).astype(np.uint8)
    count, patches, stats, _ = cv2.connectedComponentsWithStats(marked, connectivity=4)
    found = []
    for patch in range(1, count):
        x, y, width, height, _ = (int(CELL * number) for number in stats[patch])
        mean = probabilities[:10, patches == patch].mean(axis=1)
        digit = int(mean.argmax())
        more_x, more_y = (round(side * (1 / CORE - 1) / 2) for side in (width, height))
        box = (x - more_x, y - more_y, width + 2 * more_x, height + 2 * more_y)
        if mean[digit] >= LEAST_SCORE:
            found.append(Found(digit, box, float(mean[digit])))
    return sorted(found, key=lambda each: each.box)


def _tensor(picture: np.ndarray[Any, Any]) -> tuple[engines.Tensor, float]:
    """Return the network's input (1, 1, 128, 128), ink 1 on paper 0, and the picture's scale."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    paper = float(np.median(grey))
    ink = np.abs(grey - paper) / max(paper, 1 - paper)
    scale = SIDE / max(ink.shape)
    size = (max(1, round(ink.shape[1] * scale)), max(1, round(ink.shape[0] * scale)))
    tensor = np.zeros((1, 1, SIDE, SIDE), np.float32)
    tensor[0, 0, : size[1], : size[0]] = cv2.resize(ink, size, interpolation=cv2.INTER_AREA)
    return tensor, scale


def _bytes(request: Record, fetcher: Fetcher) -> bytes:
    if isinstance(request, Payload):
        return request.data
    uri = request.get("uri")
    if not isinstance(uri, str) or not uri:
        raise MalformedRequest('a request must have "uri", a string, or be the bytes of a picture')
    return fetcher(uri)
