"""What the model is asked and what it answers. The stand-in here weighs two numbers.

To `{"a": 1.0, "b": 2.0}` it answers `{"score": 0.6225}`.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from serving.contract import Record
from serving.errors import MalformedRequest

# Media types that `infer` takes as `Payload(data, content_type)`, such as "image/jpeg". JSON
# objects, arrays and lines of them come as mappings, one by one.
PAYLOAD_TYPES: frozenset[str] = frozenset()


class Net(NamedTuple):
    """What `load_model` made and `infer` uses, from several threads at once."""

    weights: dict[str, float]


def load_model(model_path: Path) -> Net:
    """Load the artifact, a folder that has been found and checked. Once a process."""
    return Net(json.loads((model_path / "weights.json").read_text()))


def infer(request: Record, net: Net) -> dict[str, Any]:
    """The answer to one request: anything that is JSON.

    Raises MalformedRequest, which the client gets as status 400, for what is its own mistake. Of
    any other exception it gets status 500, and the log has the traceback.
    """
    total = 0.0
    for name, weight in net.weights.items():
        value = request.get(name) if isinstance(request, Mapping) else None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise MalformedRequest(f'a request must have "{name}", a number')
        total += weight * value
    return {"score": round(1 / (1 + math.exp(-total)), 4)}


def warm_up(net: Net) -> None:
    """One inference, so that no request pays for a first time. It proves health after a fault."""
    infer(dict.fromkeys(net.weights, 0.0), net)


# infer_batch(requests, net), if it is there, is asked instead of `infer` for two records or more:
# examples/iris has one.
