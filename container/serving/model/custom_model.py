"""Load a model's module: `inference.py`, or the file in INFERENCE."""

import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from serving.core.contract import Record
from serving.core.errors import StartError, reason
from serving.model.protocol import Model

_NAME = "serving.inference"  # the module that the file replaces


@dataclass
class ModelFunctions:
    """A `Model` made of functions."""

    load_model: Callable[[Path], Any]
    infer: Callable[[Record, Any], object]
    infer_batch: Callable[[Sequence[Record], Any], Iterable[object]] | None = None
    warm_up: Callable[[Any], object] | None = None
    payload_types: Collection[str] = frozenset()


def adapt(module: Any) -> Model:
    """Return a module as a Model. Raises StartError if `load_model` or `infer` is missing."""
    for name in ("load_model", "infer"):
        if not callable(getattr(module, name, None)):
            raise StartError(f"{module.__file__} has no function {name}")
    return ModelFunctions(
        module.load_model,
        module.infer,
        getattr(module, "infer_batch", None),
        getattr(module, "warm_up", None),
        getattr(module, "PAYLOAD_TYPES", frozenset()),
    )


def load(path: Path) -> Model:
    """Import the file as `serving.inference`. Raises StartError."""
    found = spec_from_file_location(_NAME, path)
    if not path.is_file() or not found or not found.loader:
        raise StartError(f"INFERENCE={path} is not a Python file")
    module = module_from_spec(found)
    sys.modules[_NAME] = module
    try:
        found.loader.exec_module(module)
    except ModuleNotFoundError as error:
        hint = "add it to the requirements.txt beside the file"
        raise StartError(f"{path} imports {error.name}, which is not installed; {hint}") from error
    except Exception as error:
        raise StartError(f"{path} cannot be imported: {reason(error)}") from error
    return adapt(module)
