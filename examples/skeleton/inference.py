"""A model of another kind. This stand-in weighs two numbers.

It answers `{"a": 1.0, "b": 2.0}` with `{"score": 0.6225}`.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from serving.core.contract import Record
from serving.core.errors import MalformedRequest

# Media types that reach `infer` as `Payload(data, content_type)`, such as "image/jpeg". JSON
# objects, alone, in arrays or in lines, reach it as mappings, one by one.
PAYLOAD_TYPES: frozenset[str] = frozenset()


class Net(NamedTuple):
    """What `load_model` returns. Several threads use it at once."""

    weights: dict[str, float]


def load_model(model_path: Path) -> Net:
    """Load the artifact, a folder that has been checked. Called once in each process."""
    return Net(json.loads((model_path / "weights.json").read_text()))


def infer(request: Record, net: Net) -> dict[str, Any]:
    """Return the answer to one request: anything that is JSON.

    Raise MalformedRequest for the client's own mistakes; it gets status 400. Any other exception
    is status 500, with its traceback in the log.
    """
    total = 0.0
    for name, weight in net.weights.items():
        value = request.get(name) if isinstance(request, Mapping) else None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise MalformedRequest(f'a request must have "{name}", a number')
        total += weight * value
    return {"score": round(1 / (1 + math.exp(-total)), 4)}


def warm_up(net: Net) -> None:
    """Run one inference: before the first request, and to prove health after a failure."""
    infer(dict.fromkeys(net.weights, 0.0), net)


# An `infer_batch(requests, net)` would be called for two records or more: see examples/iris.
