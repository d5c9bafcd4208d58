"""`make new-model NAME=...`: copy the skeleton of another kind of model, which answers at once.

python -m ops.commands.new_model flowers              into examples/flowers
python -m ops.commands.new_model ../models/flowers    into a folder elsewhere
"""

import json
import re
import sys
from pathlib import Path
from shutil import copytree, ignore_patterns

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
SKELETON = EXAMPLES / "skeleton"
# The same as infra's rule for model_folder: the image has a folder of this name.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def make(name: str) -> Path:
    """Copy the skeleton into examples/NAME, or into the folder that a name with a slash is.

    Raises ValueError with one line, and OSError where the folder cannot be written.
    """
    place = Path(name).expanduser() if "/" in name else EXAMPLES / name
    if not name or not _NAME.fullmatch(place.name):
        raise ValueError(
            f"NAME={name!r}: it must be 1 to 128 letters, digits, '.', '_' or '-', a letter or "
            "digit first, or a folder of such a name"
        )
    if place.exists():
        raise ValueError(f"{_shown(place)} is there already; choose another NAME")
    copytree(SKELETON, place, ignore=ignore_patterns("__pycache__"))
    readme, manifest = place / "README.md", place / "artifact" / "manifest.json"
    text = readme.read_text().replace("# skeleton", f"# {place.name}", 1)
    readme.write_text(text.replace("THE_FOLDER", _shown(place)))
    facts = {**json.loads(manifest.read_text()), "name": place.name}
    manifest.write_text(json.dumps(facts, indent=2) + "\n")
    return place


def _shown(place: Path) -> str:
    place = place.resolve()
    return str(place.relative_to(ROOT) if place.is_relative_to(ROOT) else place)


def main() -> int:
    try:
        place = make("".join(sys.argv[1:2]))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{_shown(place)} answers already: make test-model MODEL_FOLDER={_shown(place)}")
    print("Its README.md says how to make it yours; examples/iris uses scikit-learn.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
