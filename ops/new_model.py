"""`make new-model NAME=...`: the skeleton of another kind of model, which answers at once.

python -m ops.new_model flowers              into examples/flowers
python -m ops.new_model ../models/flowers    into a folder elsewhere
"""

import json
import re
import sys
from pathlib import Path
from shutil import copytree, ignore_patterns

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
SKELETON = EXAMPLES / "skeleton"
# As infra's rule for model_folder: the name is also that of a folder in the image.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class NewModelError(Exception):
    """No skeleton can be made there; the message is one line that says why."""


def make(name: str) -> Path:
    """Copy the skeleton into examples/NAME, or into the folder that a name with a slash is.

    Raises NewModelError, and OSError where the folder cannot be written.
    """
    place = Path(name).expanduser() if "/" in name else EXAMPLES / name
    if not name or not _NAME.fullmatch(place.name):
        raise NewModelError(
            f"NAME={name!r}: it must be 1 to 128 letters, digits, '.', '_' or '-', a letter or "
            "digit first, or a folder of such a name"
        )
    if place.exists():
        raise NewModelError(f"{_shown(place)} is there already; choose another NAME")
    copytree(SKELETON, place, ignore=ignore_patterns("__pycache__"))
    readme = place / "README.md"
    text = readme.read_text().replace("# skeleton", f"# {place.name}", 1)
    readme.write_text(text.replace("THE_FOLDER", _shown(place)))
    manifest = place / "artifact" / "manifest.json"
    facts = {**json.loads(manifest.read_text()), "name": place.name}
    manifest.write_text(json.dumps(facts, indent=2) + "\n")
    return place


def _shown(place: Path) -> str:
    """As one types it in the checkout."""
    place = place.resolve()
    return str(place.relative_to(ROOT) if place.is_relative_to(ROOT) else place)


def main() -> int:
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    try:
        place = make(name)
    except (NewModelError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{_shown(place)} answers already: make test-model MODEL_FOLDER={_shown(place)}")
    print("Its README.md says how it becomes yours; examples/iris is one of scikit-learn's.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
