"""The `inference.py` of a model folder in place of ours, without an image built for it."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from serving.errors import StartError, reason

# Under the name of the file that it takes the place of in an image.
_NAME = "serving.inference"


def load(path: Path) -> ModuleType:
    """Import the file. Raises StartError: none there, it fails, or it lacks a function."""
    found = spec_from_file_location(_NAME, path)
    if not path.is_file() or not found or not found.loader:
        raise StartError(f"INFERENCE={path} is no Python file")
    module = module_from_spec(found)
    sys.modules[_NAME] = module
    try:
        found.loader.exec_module(module)
    except ModuleNotFoundError as error:
        raise StartError(
            f"{path} imports {error.name}, which is not installed; requirements.txt beside it is "
            "where an image takes it from"
        ) from error
    except Exception as error:
        raise StartError(f"{path} cannot be imported: {reason(error)}") from error
    for name in ("load_model", "infer"):
        if not callable(getattr(module, name, None)):
            raise StartError(f"{path} has no function {name}")
    return module
