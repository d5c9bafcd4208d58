"""What is locked: every set of packages that this project installs anywhere."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# bench/ is left out: the servers and engines that it compares itself with run on loopback, in
# environments of their own, and are what they are.
SETS = tuple(
    ROOT / path
    for path in (
        "container/requirements.txt",
        "container/requirements-mxnet.txt",
        "container/requirements-cuda.txt",
        "container/requirements-build.txt",
        "container/requirements-emulator.txt",
        "requirements.txt",
        "requirements-pip.txt",
        "requirements-dev.txt",
        "tests/infra/requirements.txt",
        "tests/deploy/requirements.txt",
        "tests/clients/requirements-sdk2.txt",
        "tests/clients/requirements-sdk3.txt",
        "examples/iris/requirements.txt",
        "examples/iris/requirements-train.txt",
    )
)

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)((?:.*\\\n)*.*)", re.MULTILINE)


@dataclass(frozen=True)
class Pin:
    """One package of a set, at one version, with the digests of its files."""

    name: str
    version: str
    hashes: tuple[str, ...]


def pins(path: Path) -> list[Pin]:
    """What a locked file names. Names are normalised as PyPI does."""
    return [
        Pin(normalised(name), version, tuple(re.findall(r"--hash=(\S+)", rest)))
        for name, version, rest in _PIN.findall(path.read_text())
    ]


def names(paths: Iterable[Path] = SETS) -> set[str]:
    """Every package that is locked."""
    return {pin.name for path in paths for pin in pins(path)}


def normalised(name: str) -> str:
    """PEP 503's form of a name."""
    return re.sub(r"[-_.]+", "-", name).lower()
