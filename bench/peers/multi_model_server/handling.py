"""What every handler of multi-model-server here shares: the function that the server calls.

Adapted from https://github.com/awslabs/multi-model-server, docs/custom_service.md (Apache-2.0).
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pasted import ready

Classify = Callable[[bytes], Any]
Handle = Callable[[list[dict[str, Any]] | None, Any], list[Any] | None]


def handler(load: Callable[[], Classify]) -> Handle:
    """`load` runs once in each worker, in the server's first call, which has no data."""
    loaded: list[Classify] = []

    def handle(data: list[dict[str, Any]] | None, _context: Any) -> list[Any] | None:
        """Called with a batch of one from the second time on."""
        if not loaded:
            loaded.append(load())
        return data and [loaded[0](bytes(one["body"])) for one in data]

    return handle


def warm(classifier: Callable[[Path], Classify]) -> Classify:
    """A classifier of the artifact, once it has answered a first picture."""
    classify = classifier(Path(os.environ["BENCH_ARTIFACT"]))
    classify(Path(os.environ["BENCH_PHOTO"]).read_bytes())
    ready()
    return classify
