"""Models of another kind, each on the pipeline and both faces, started when they are asked for."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from unittest.mock import patch

import numpy  # noqa: F401 - before modules are restored below: it must not be imported twice

from ops import local_servers
from ops.local_servers import EmulatedLambda, HttpFace, process_environment
from serving.artifact.resolve import check
from support.farm import InProcess


@dataclass(frozen=True)
class Model:
    """A model folder, served three ways."""

    pipeline: InProcess
    http: HttpFace
    function: EmulatedLambda


Models = Callable[[Path], Model]


@contextmanager
def models() -> Iterator[Models]:
    """Yield a function that starts the model in a folder, once."""
    with ExitStack() as stack:

        @cache
        def start(folder: Path) -> Model:
            check(folder / "artifact")  # as the image's build does
            environment = {**process_environment(folder), "WORKERS": "2"}
            path = [environment["PYTHONPATH"], *sys.path]
            # The folder's inference.py leaves no trace for other tests.
            with patch.dict(sys.modules), patch("sys.path", path):
                pipeline = InProcess.start(environment)
            return Model(
                pipeline,
                stack.enter_context(local_servers.http_process(environment)),
                stack.enter_context(local_servers.lambda_process(environment)),
            )

        yield start
