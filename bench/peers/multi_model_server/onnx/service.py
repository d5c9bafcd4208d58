"""A handler of AWS's multi-model-server: the graph, engine, decode and resize that we serve with.

Adapted from https://github.com/awslabs/multi-model-server, docs/custom_service.md (Apache-2.0).
"""

from typing import Any

from pasted import load

_classify: Any = None


def handle(data: list[dict[str, Any]] | None, _context: Any) -> list[Any] | None:
    """Called with no data once, to load the model, and with a batch of one from then on."""
    global _classify  # noqa: PLW0603 - a handler of this server is a function
    if _classify is None:
        _classify = load()
    return data and [_classify(bytes(one["body"])) for one in data]
