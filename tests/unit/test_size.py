"""The project stays small: lines, modules in a folder, and no private names of libraries."""

from collections import Counter
from pathlib import Path

import pytest

from ops.local_servers import ROOT
from support.programs import BIN, run

SOURCE = ("app.py", "container", "infra", "ops", "bench")
MODULES_IN_A_FOLDER = 12
# The aims are 14,000 lines of source and 23,000 of tests: lower the first ceiling when lines go.


def modules(*places: str) -> list[Path]:
    found = [ROOT / place for place in places]
    files = [path for path in found if path.is_file()]
    return files + [path for place in found for path in sorted(place.rglob("*.py"))]


@pytest.mark.parametrize(("places", "ceiling"), [(SOURCE, 15_000), (("tests",), 23_000)])
def test_lines(places: tuple[str, ...], ceiling: int) -> None:
    lines = Counter({path: len(path.read_text().splitlines()) for path in modules(*places)})
    largest = [f"{path.relative_to(ROOT)}: {n}" for path, n in lines.most_common(15)]
    assert lines.total() <= ceiling, f"the largest modules: {largest}"


def test_no_folder_has_too_many_modules() -> None:
    counts = Counter(
        str(path.parent.relative_to(ROOT))
        for path in modules(*SOURCE[1:], "tests")
        if path.name != "__init__.py"
    )
    assert {folder: n for folder, n in counts.items() if n > MODULES_IN_A_FOLDER} == {}


def test_no_private_name_of_a_library_is_used() -> None:
    # os documents _exit; ops.aws copies its own _given.
    documented = 'lint.flake8-self.extend-ignore-names=["_exit", "_given"]'
    rules = ("--isolated", "--preview", "--select=SLF001,PLC2701", "--config", documented)
    done = run([BIN / "ruff", "check", "--output-format=concise", *rules, *SOURCE])
    assert done.returncode == 0, done.stdout + done.stderr
