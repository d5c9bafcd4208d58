"""Every installed package is locked to its hashes, also in the image."""

import re
from pathlib import Path

import pytest

from support.docker import docker
from support.locks import ROOT, SETS, normalised, pins
from support.programs import BIN, run

REMOVED = {"protobuf", "scipy"}  # the Dockerfile removes them after the installation
SHARED = ("container/requirements.txt", "container/requirements-mxnet.txt")  # with .venv


@pytest.mark.parametrize("path", SETS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_package_has_one_version_and_its_hashes(path: Path) -> None:
    """A version raised only in the .in file would not be installed."""
    found = pins(path)
    assert found
    locked = {pin.name: pin.version for pin in found}
    assert len(locked) == len(found)
    assert [pin.name for pin in found if not pin.hashes] == []
    lines = re.sub(r"\\\n|^ *#.*\n", "", path.read_text(), flags=re.MULTILINE).splitlines()
    assert len(lines) == len(found), "a line of the file is not a pinned package"
    wanted = re.compile(r"^([a-z0-9-]+)(?:\[\S+\])?==(\S+)", re.MULTILINE)
    asked = wanted.findall(path.with_suffix(".in").read_text())
    assert asked
    assert {name: version for name, version in asked if locked.get(name) != version} == {}


def test_the_sets_of_one_environment_agree() -> None:
    """`make test` installs four sets into .venv."""
    versions: dict[str, set[str]] = {}
    for path in (*SHARED, "requirements.txt", "requirements-pip.txt", "requirements-dev.txt"):
        for pin in pins(ROOT / path):
            versions.setdefault(pin.name, set()).add(pin.version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}
    developers = {pin.name for pin in pins(ROOT / "requirements-dev.txt")}
    assert {pin.name for pin in pins(ROOT / "requirements.txt")} <= developers


@pytest.mark.parametrize("name", ["container", "examples/iris"])
def test_every_pin_that_the_image_serves_with_has_an_arm_wheel(name: str, tmp_path: Path) -> None:
    """One lock serves both architectures, so it must have all hashes for Arm."""
    command = [f"{BIN}/uv", "pip", "install", "--dry-run", "--python-version", "3.11"]
    command += ["--python-platform", "aarch64-manylinux_2_28", "--only-binary", ":all:"]
    command += ["--require-hashes", "--target", str(tmp_path)]
    done = run([*command, "--requirement", str(ROOT / name / "requirements.txt")])
    assert done.returncode == 0, done.stderr
    assert "Would install" in done.stderr


def test_nothing_is_installed_unlocked() -> None:
    """The Makefile and the Dockerfile install nothing without its hash."""
    makefile = (ROOT / "Makefile").read_text()
    dockerfile = (ROOT / "container/Dockerfile").read_text().replace("\\\n", "")
    recipes = re.findall(r"^\t@.* -r .*", makefile, re.MULTILINE)
    assert recipes
    assert [line for line in recipes if not re.search(r"\$\((LOCKED|HASHED)\)", line)] == []
    assert re.search(r"^HASHED := .*--require-hashes", makefile, re.MULTILINE)
    assert re.search(r"^LOCKED := .*\$\(HASHED\)", makefile, re.MULTILINE)
    installs = re.findall(r"pip (?:--python \S+ )?install\b[^&;]*", dockerfile)
    assert len(installs) == 5
    assert [line for line in installs if "--require-hashes" not in line] == []


@pytest.mark.docker
def test_the_image_holds_what_is_locked_and_nothing_else(image: str) -> None:
    """The search covers the whole image, also leftovers of an installer and of the base image."""
    script = r"find / -xdev \( -name '*.dist-info' -o -name '*.egg-info' \) -not -path '/proc/*'"
    ran = docker("run", "--rm", "--entrypoint=/bin/sh", image, "-c", script)
    held = [Path(place).stem.split("-")[:2] for place in ran.split()]
    locked = {
        (pin.name, pin.version)
        for path in ("requirements.txt", "requirements-mxnet.txt")
        for pin in pins(ROOT / "container" / path)
        if pin.name not in REMOVED
    }
    assert sorted((normalised(name), version) for name, version in held) == sorted(locked)
