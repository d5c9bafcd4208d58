"""A handler of AWS's multi-model-server with our graph, engine and decode.

Adapted from https://github.com/awslabs/multi-model-server, docs/custom_service.md (Apache-2.0).
"""

from collections.abc import Callable
from typing import Any

from pasted import load

_loaded: list[Callable[[bytes], Any]] = []


def handle(data: list[dict[str, Any]] | None, _context: Any) -> list[Any] | None:
    """Load the model in the first call, which has no data. Later calls have a batch of one."""
    if not _loaded:
        _loaded.append(load())
    return data and [_loaded[0](bytes(one["body"])) for one in data]
