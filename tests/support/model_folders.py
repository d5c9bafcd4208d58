"""Other kinds of models, each on the pipeline and both faces, started at their first use."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from unittest.mock import patch

import numpy  # noqa: F401 - it must not be imported again after sys.modules is restored below

from ops import local_servers
from ops.local_servers import EmulatedLambda, HttpFace, process_environment
from serving.artifact.resolve import check
from support.farm import InProcess


@dataclass(frozen=True)
class Model:
    pipeline: InProcess
    http: HttpFace
    function: EmulatedLambda


Models = Callable[[Path], Model]


def models() -> Iterator[Models]:
    """Yield a function that starts the model in a folder, once. It is a fixture."""
    with ExitStack() as stack:

        @cache
        def start(folder: Path) -> Model:
            check(folder / "artifact")  # the image's build does this
            environment = {**process_environment(folder), "WORKERS": "2"}
            path = [environment["PYTHONPATH"], *sys.path]
            # Other tests must not see the folder's inference.py.
            with patch.dict(sys.modules), patch("sys.path", path):
                pipeline = InProcess.start(environment)
            return Model(
                pipeline,
                stack.enter_context(local_servers.http_process(environment)),
                stack.enter_context(local_servers.lambda_process(environment)),
            )

        yield start
