"""What is installed anywhere is locked to the byte, and the audit sees all of it."""

import re
from pathlib import Path

import pytest

from security.locks import ROOT, SETS, pins

SHARED = ("container/requirements.txt", "container/requirements-mxnet.txt")  # with .venv


@pytest.mark.parametrize("path", SETS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_package_has_one_version_and_its_hashes(path: Path) -> None:
    found = pins(path)
    assert found
    assert len({pin.name for pin in found}) == len(found)
    assert [pin.name for pin in found if not pin.hashes] == []
    lines = re.sub(r"\\\n|^ *#.*\n", "", path.read_text(), flags=re.MULTILINE).splitlines()
    assert len(lines) == len(found), "something in the file is no pinned package"


def test_no_set_is_forgotten() -> None:
    """bench/ is left out on purpose: security/locks.py says why. Without a pin, none is a set."""
    folders = [path for kind in ("tests/*", "examples/*") for path in ROOT.glob(kind)]
    places = [ROOT, ROOT / "container", *(path for path in folders if path.is_dir())]
    found = {path for place in places for path in place.glob("requirements*.txt") if pins(path)}
    assert found == set(SETS)


@pytest.mark.parametrize("path", SETS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_asked_for_is_what_is_locked(path: Path) -> None:
    """A version that was raised in the .in file only would not be installed."""
    locked = {pin.name: pin.version for pin in pins(path)}
    wanted = re.compile(r"^([a-z0-9-]+)(?:\[\S+\])?==(\S+)", re.MULTILINE)
    asked = wanted.findall(path.with_suffix(".in").read_text())
    assert asked
    assert {name: version for name, version in asked if locked.get(name) != version} == {}


def test_one_environment_can_hold_what_it_is_told_to() -> None:
    """`make test` installs four sets into .venv, one after the other."""
    versions: dict[str, set[str]] = {}
    for path in (*SHARED, "requirements.txt", "requirements-pip.txt", "requirements-dev.txt"):
        for pin in pins(ROOT / path):
            versions.setdefault(pin.name, set()).add(pin.version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}
    developers = {pin.name for pin in pins(ROOT / "requirements-dev.txt")}
    assert {pin.name for pin in pins(ROOT / "requirements.txt")} <= developers


def test_nothing_is_installed_unlocked() -> None:
    """By the Makefile or in the image: without its hash, nothing gets in."""
    makefile = (ROOT / "Makefile").read_text()
    dockerfile = (ROOT / "container/Dockerfile").read_text().replace("\\\n", "")
    recipes = re.findall(r"^\t@.* -r .*", makefile, re.MULTILINE)
    assert recipes
    assert [line for line in recipes if "$(LOCKED)" not in line] == []
    assert re.search(r"^LOCKED := .*--require-hashes", makefile, re.MULTILINE)
    installs = re.findall(r"pip (?:--python \S+ )?install\b[^&;]*", dockerfile)
    assert len(installs) == 4
    assert [line for line in installs if "--require-hashes" not in line] == []
