"""The project stays small: lines, modules in a folder, and no private names of libraries."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.local_servers import ROOT

SOURCE = ("app.py", "container", "infra", "ops", "bench")
MODULES_IN_A_FOLDER = 12
# The aim is 12,000 lines of source and 20,000 of tests: lower the ceilings below when lines go.
# Documented names of namedtuple and os that begin with an underscore.
DOCUMENTED = {"_exit", "_replace", "_asdict", "_fields", "_make"}


def modules(*places: str) -> list[Path]:
    found = [ROOT / place for place in places]
    files = [path for path in found if path.is_file()]
    return files + [path for place in found for path in sorted(place.rglob("*.py"))]


@pytest.mark.parametrize(("places", "ceiling"), [(SOURCE, 15_900), (("tests",), 24_300)])
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


def private_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and name of each private name that the module does not define itself."""
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    own |= {
        node.attr
        for node in attributes
        if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Attribute) and node.attr not in own:
            names = [node.attr]
        else:
            continue
        for name in names:
            if name.startswith("_") and not name.startswith("__") and name not in DOCUMENTED:
                yield node.lineno, name


def test_no_private_name_of_a_library_is_used() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in modules(*SOURCE)
        for line, name in private_names(ast.parse(path.read_text()))
    ]
    assert found == []
