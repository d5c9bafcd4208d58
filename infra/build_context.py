"""What the image is built from: container/, and in it, where it is asked for, a model folder.

    python -m infra.build_context examples/iris build/context && docker build build/context

Whatever builds, the CDK or `make image`, has the same files from here.
"""

import sys
from pathlib import Path
from shutil import copy, copytree, ignore_patterns, rmtree

from infra.context import ConfigError

CONTAINER = Path(__file__).parent.parent / "container"

_LEFT_BEHIND = ignore_patterns("__pycache__", "*.pyc", ".DS_Store")
_NEEDED = ("inference.py", "artifact/manifest.json")


def write(model_folder: Path, place: Path) -> None:
    """Make `place`, new, the context of an image that serves the model folder.

    Its `inference.py` takes the place of ours, `artifact/` that of an export, and what
    `requirements.txt` names, if it is there, is installed beside ours. Nothing else of it gets into
    the image. Raises ConfigError where a part is missing.
    """
    for name in _NEEDED:
        if not (model_folder / name).is_file():
            raise ConfigError(
                f"model_folder={str(model_folder)!r}: it lacks {name}; "
                "docs/08-your-model.md says what belongs there"
            )
    copytree(CONTAINER, place, ignore=_LEFT_BEHIND)
    copy(model_folder / "inference.py", place / "serving")
    rmtree(place / "model")
    copytree(model_folder / "artifact", place / "model" / "artifact", ignore=_LEFT_BEHIND)
    locked = model_folder / "requirements.txt"
    copy(locked if locked.exists() else CONTAINER / "model" / "requirements.txt", place / "model")


if __name__ == "__main__":
    try:
        write(Path(sys.argv[1]), Path(sys.argv[2]))
    except ConfigError as error:
        sys.exit(str(error))
