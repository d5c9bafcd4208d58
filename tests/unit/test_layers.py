"""Imports go one way, and the three packages agree with each other."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.local_servers import ROOT

# The layers of each package. Each imports only from itself and those before it.
SERVING = "core fetch artifact model inference service http serve forward lambda_handler examiner"
INFRA = "config common image sagemaker_target lambda_target examiner monitoring outputs stack"


def imports(path: Path) -> Iterator[str]:
    """Yield every module that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(("place", "named"), [("container/serving", SERVING), ("infra", INFRA)])
def test_imports_go_one_way(place: str, named: str) -> None:
    folder, layers = ROOT / place, named.split()
    parts = {path.relative_to(folder).parts[0].removesuffix(".py") for path in folder.rglob("*.py")}
    assert parts - {"__init__"} == set(layers)
    for height, layer in enumerate(layers):
        files = [folder / f"{layer}.py", *(folder / layer).glob("*.py")]
        found = {
            name.split(".")[1]
            for path in files
            if path.exists()
            for name in imports(path)
            if name.startswith(f"{folder.name}.")
        }
        assert found & set(layers) <= set(layers[: height + 1]), layer


@pytest.mark.parametrize(
    ("folder", "strangers"),
    [
        ("infra", {"serving", "build_artifact", "ops"}),
        ("ops", {"serving", "build_artifact", "infra"}),
        ("container", {"infra", "ops"}),
    ],
)
def test_the_three_packages_do_not_import_each_other(folder: str, strangers: set[str]) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        assert not {module.split(".")[0] for module in imports(path)} & strangers, path


def test_the_image_and_the_exporter_pin_the_same_versions() -> None:
    """Both environments use the same release of numpy, OpenCV and MXNet."""
    pins: dict[str, set[str]] = {}
    for path in (ROOT / "container").glob("requirements*.txt"):
        for name, version in re.findall(r"^([a-z0-9-]+)==(\S+)", path.read_text(), re.MULTILINE):
            if name != "protobuf":  # its versions are why there are two environments
                pins.setdefault(name, set()).add(version)
    assert {name: found for name, found in pins.items() if len(found) > 1} == {}
