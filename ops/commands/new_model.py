"""`make new-model NAME=...`: copy a working skeleton for another kind of model.

python -m ops.commands.new_model flowers              creates examples/flowers
python -m ops.commands.new_model ../models/flowers    creates a folder elsewhere
"""

import json
import re
import sys
from pathlib import Path
from shutil import copytree, ignore_patterns

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
SKELETON = EXAMPLES / "skeleton"
# infra has the same rule for model_folder, because the image has a folder of this name.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def make(name: str) -> Path:
    """Copy the skeleton to examples/NAME; a name with a slash is a path.

    Raise ValueError for a name that cannot be used, or OSError.
    """
    place = Path(name).expanduser() if "/" in name else EXAMPLES / name
    if not name or not _NAME.fullmatch(place.name):
        raise ValueError(
            f"NAME={name!r}: it must be 1 to 128 letters, digits, '.', '_' or '-', a letter or "
            "digit first, or a folder of such a name"
        )
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
