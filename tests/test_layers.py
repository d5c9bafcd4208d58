"""Imports point one way, and what the three packages must agree on they do agree on."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.faces import ROOT

# What a module may import of its package. Each names only modules above it, so there is no cycle.
SERVING = {
    "errors": set(),
    "logs": set(),
    "settings": {"errors"},
    "contract": {"errors"},
    "addresses": set(),
    "deadline": {"errors"},
    "fetch": {"addresses", "deadline", "errors", "settings"},
    "headers": {"errors"},
    "quiet": set(),
    "images": {"errors", "headers", "quiet"},
    "engines": {"errors"},
    "labels": {"errors"},
    "manifest": {"errors"},
    "turns": set(),
    "balance": set(),
    "health": set(),
    "incoming": {"errors"},
    "connection": {"incoming"},
    "worker": {"balance", "connection", "errors"},
    "classifier": {"engines", "labels", "manifest", "images", "turns"},
    "zoo": {"errors", "manifest", "labels"},
    "archive": {"errors", "fetch"},
    "graphs": {"errors"},
    "artifact": {"archive", "errors", "graphs", "manifest", "settings", "zoo"},
    "ahead": set(),
    "inference": {
        "ahead",
        "logs",
        "errors",
        "settings",
        "contract",
        "fetch",
        "images",
        "artifact",
        "classifier",
        "labels",
    },
    "replaced": {"errors"},
    "service": {
        "errors",
        "settings",
        "contract",
        "artifact",
        "health",
        "inference",
        "logs",
        "replaced",
    },
    "serve": {
        "balance",
        "errors",
        "settings",
        "contract",
        "artifact",
        "service",
        "logs",
        "worker",
    },
    "lambda_handler": {"errors", "settings", "contract", "artifact", "service", "logs"},
}
INFRA = {
    "rules": set(),
    "zoo": set(),
    "config": {"rules", "zoo"},
    "combinations": {"config"},
    "context": {"rules", "config", "combinations"},
    "registry": {"config", "context"},
    "explained": set(),
    "alarms": set(),
    "prices": set(),
    "logs": {"explained"},
    "build_context": {"context"},
    "image": {"config", "build_context"},
    "access": {"config", "explained"},
    "lambda_function": {"config", "explained", "image", "access"},
    "lambda_rollout": {"access", "alarms"},
    "lambda_target": {
        "config",
        "explained",
        "alarms",
        "logs",
        "image",
        "lambda_function",
        "lambda_rollout",
    },
    "sagemaker_role": {"explained", "alarms", "image", "access"},
    "sagemaker_storage": {"explained"},
    "sagemaker_rollout": {"config"},
    "sagemaker_model": {
        "config",
        "explained",
        "image",
        "access",
        "sagemaker_role",
        "sagemaker_rollout",
        "sagemaker_storage",
    },
    "sagemaker_scaling": {"config"},
    "sagemaker_target": {
        "config",
        "combinations",
        "alarms",
        "logs",
        "image",
        "sagemaker_role",
        "sagemaker_storage",
        "sagemaker_model",
        "sagemaker_rollout",
        "sagemaker_scaling",
    },
    "batch": {
        "config",
        "explained",
        "image",
        "access",
        "sagemaker_role",
        "sagemaker_model",
    },
    "running_cost": {"config", "prices", "lambda_target", "sagemaker_target"},
    "dashboard": {"config", "running_cost", "lambda_target", "sagemaker_target"},
    "monitoring": {"config", "explained", "dashboard", "lambda_target", "sagemaker_target"},
    "outputs": {"batch", "image", "lambda_target", "sagemaker_target", "monitoring"},
    "stack": {
        "config",
        "batch",
        "registry",
        "image",
        "lambda_target",
        "sagemaker_target",
        "monitoring",
        "outputs",
    },
}


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(
    ("package", "folder", "rule"),
    [
        ("serving", ROOT / "container" / "serving", SERVING),
        ("infra", ROOT / "infra", INFRA),
    ],
)
def test_imports_point_one_way(package: str, folder: Path, rule: dict[str, set[str]]) -> None:
    modules = {path.stem: path for path in folder.glob("*.py") if path.stem != "__init__"}
    assert modules.keys() == rule.keys()
    above: set[str] = set()
    for name, allowed in rule.items():
        assert allowed <= above, name
        above.add(name)
    for name, path in modules.items():
        found = {
            part[1]
            for module in imports(path)
            if (part := module.split("."))[0] == package
            if len(part) > 1 and part[1] in modules
        }
        assert found <= rule[name], name


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


def test_every_variable_of_the_dockerfile_is_read() -> None:
    """An ENV that nothing reads would be a promise that nothing keeps."""
    dockerfile = (ROOT / "container" / "Dockerfile").read_text()
    block = re.search(r"^ENV PATH=.*?(?=\nEXPOSE)", dockerfile, re.MULTILINE | re.DOTALL)
    assert block
    names = set(re.findall(r"(?:ENV |^ +)([A-Z_]+)=", block[0], re.MULTILINE))
    sources = "".join(path.read_text() for path in (ROOT / "container/serving").glob("*.py"))
    python_itself = {"PATH", "PYTHONDONTWRITEBYTECODE"}
    assert {name for name in names - python_itself if f'"{name}"' not in sources} == set()


def test_the_image_and_the_exporter_pin_the_same_versions() -> None:
    """Both environments decode and compute with numpy, OpenCV and MXNet of the same release."""
    pins: dict[str, set[str]] = {}
    for path in (ROOT / "container").glob("requirements*.txt"):
        for name, version in re.findall(r"^([a-z0-9-]+)==(\S+)", path.read_text(), re.MULTILINE):
            if name != "protobuf":  # the reason for there being two environments
                pins.setdefault(name, set()).add(version)
    assert {name: found for name, found in pins.items() if len(found) > 1} == {}
