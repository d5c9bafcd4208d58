"""Models of another kind, each on the pipeline and both faces, started when they are asked for."""

import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

from farm import InProcess
from ops import faces
from ops.faces import EmulatedLambda, HttpFace
from ops.local import of_model_folder, process_environment
from serving import replaced
from serving.artifact import check, resolve
from serving.service import Service
from serving.settings import Settings


@dataclass(frozen=True)
class Model:
    """A model folder, served three ways."""

    pipeline: InProcess
    http: HttpFace
    function: EmulatedLambda


@dataclass
class Models:
    """By their folder."""

    _stack: ExitStack = field(default_factory=ExitStack)
    _started: dict[Path, Model] = field(default_factory=dict)

    def __getitem__(self, folder: Path) -> Model:
        if folder not in self._started:
            check(folder / "artifact")  # as the image's build does
            environment = {**process_environment(), **of_model_folder(folder), "WORKERS": "2"}
            self._started[folder] = Model(
                _in_process(environment),
                self._stack.enter_context(faces.http_process(environment)),
                self._stack.enter_context(faces.lambda_process(environment)),
            )
        return self._started[folder]

    def close(self) -> None:
        self._stack.close()


def _in_process(environment: Mapping[str, str]) -> InProcess:
    """The pipeline with the folder's inference.py, and no trace of it for other tests."""
    settings = Settings.from_environment(environment)
    path = [environment["PYTHONPATH"], *sys.path]
    with patch.dict(os.environ, environment), patch.dict(sys.modules), patch("sys.path", path):
        service = Service(settings, resolve(settings), replaced.load(Path(settings.inference)))
        service.start()
    return InProcess(environment, service)
