"""Classify an iris by four lengths. The model is a scikit-learn pipeline, run as ONNX.

The request

    {"sepal_length_cm": 5.1, "sepal_width_cm": 3.5, "petal_length_cm": 1.4, "petal_width_cm": 0.2}

is answered

    {"species": "setosa",
     "probabilities": {"setosa": 0.9847, "versicolor": 0.0153, "virginica": 0.0}}
"""

from collections.abc import Sequence
from os import environ
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np

from serving.artifact import labels
from serving.core.contract import Record
from serving.core.errors import MalformedRequest
from serving.core.settings import Settings
from serving.model import engines
from serving.model.fifo_lock import FifoLock

Length = Annotated[float, msgspec.Meta(gt=0, le=50)]
DIGITS = 4  # of a probability; a float32's last ones depend on the CPU


class Flower(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request. Its fields are the model's features, in the order of their columns."""

    sepal_length_cm: Length
    sepal_width_cm: Length
    petal_length_cm: Length
    petal_width_cm: Length


class Net(NamedTuple):
    """A loaded model; `forward` is for one caller at a time."""

    forward: engines.Forward
    species: tuple[str, ...]
    lock: FifoLock


def load_model(model_path: Path) -> Net:
    """Load `model.onnx` and `labels.txt` of the artifact. Raises StartError."""
    threads = Settings.from_environment(environ).threads
    return Net(engines.load(model_path, threads), labels.read(model_path), FifoLock())


def infer(request: Record, net: Net) -> dict[str, Any]:
    """Return the species of one flower. Raises MalformedRequest."""
    return _answers([_flower(request)], net)[0]


def infer_batch(requests: Sequence[Record], net: Net) -> list[dict[str, Any] | Exception]:
    """Return what `infer` answers to each, or raises. All flowers are in one forward."""
    answers: list[dict[str, Any] | Exception] = []
    flowers = []
    for request in requests:
        try:
            flowers.append(_flower(request))
            answers.append({})
        except MalformedRequest as error:
            answers.append(error)
    found = iter(_answers(flowers, net))
    return [answer or next(found) for answer in answers]


def warm_up(net: Net) -> None:
    """Run one forward, of a flower in the middle of the data."""
    _answers([Flower(5.8, 3.1, 3.8, 1.2)], net)


def _flower(request: Record) -> Flower:
    try:
        return msgspec.convert(request, Flower)
    except msgspec.ValidationError as error:
        raise MalformedRequest(str(error)) from None


def _answers(flowers: Sequence[Flower], net: Net) -> list[dict[str, Any]]:
    if not flowers:
        return []
    features = np.array([msgspec.structs.astuple(flower) for flower in flowers], np.float32)
    with net.lock:
        rows = net.forward(features)
    return [
        {
            "species": net.species[int(row.argmax())],
            "probabilities": {
                name: round(float(probability), DIGITS)
                for name, probability in zip(net.species, row, strict=True)
            },
        }
        for row in rows
    ]
