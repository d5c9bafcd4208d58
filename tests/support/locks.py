"""List what is locked: every set of packages that this project installs anywhere."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)((?:.*\\\n)*.*)", re.MULTILINE)


class Pin(NamedTuple):
    """One package of a set, at one version, with the digests of its files."""

    name: str
    version: str
    hashes: tuple[str, ...]


def pins(path: Path) -> list[Pin]:
    """Return what a locked file names. Names are normalised as PyPI does."""
    return [
        Pin(normalised(name), version, tuple(re.findall(r"--hash=(\S+)", rest)))
        for name, version, rest in _PIN.findall(path.read_text())
    ]


def normalised(name: str) -> str:
    """Return PEP 503's form of a name."""
    return re.sub(r"[-_.]+", "-", name).lower()


# bench/ is left out: the servers and engines that it compares itself with run on loopback, in
# environments of their own, and are what they are. A file without a pin is no set.
_PLACES = (".", "container", "tests/*/*", "examples/*")
SETS = tuple(
    path
    for place in _PLACES
    for path in sorted(ROOT.glob(f"{place}/requirements*.txt"))
    if pins(path)
)
