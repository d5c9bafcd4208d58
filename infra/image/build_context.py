"""Assemble the build context of the image for the CDK and `make image`.

python -m infra.image.build_context examples/iris build/context && docker build build/context
"""

import sys
from pathlib import Path
from shutil import copy, copytree, ignore_patterns, rmtree

from infra.config.context import ConfigError

CONTAINER = Path(__file__).parents[2] / "container"

_LEFT_BEHIND = ignore_patterns(
    *(line.removeprefix("**/") for line in (CONTAINER / ".dockerignore").read_text().splitlines())
)


def write(model_folder: Path, place: Path) -> None:
    """Create the folder `place`: container/ with the files of the model folder.

    Its `inference.py` replaces ours, its `artifact/` replaces the exported one, and the packages
    in its optional `requirements.txt` are installed as well. Other files do not get into the
    image. Raises ConfigError if a file is missing.
    """
    for name in ("inference.py", "artifact/manifest.json"):
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
