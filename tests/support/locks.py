"""List every locked set of packages that this project installs."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)((?:.*\\\n)*.*)", re.MULTILINE)


class Pin(NamedTuple):
    name: str
    version: str
    hashes: tuple[str, ...]


def pins(path: Path) -> list[Pin]:
    """Return the packages of a locked file, with normalised names."""
    return [
        Pin(normalised(name), version, tuple(re.findall(r"--hash=(\S+)", rest)))
        for name, version, rest in _PIN.findall(path.read_text())
    ]


def normalised(name: str) -> str:
    """Return PEP 503's form of a name."""
    return re.sub(r"[-_.]+", "-", name).lower()


# bench/ is not here: its servers run on loopback in their own environments.
SETS = tuple(
    path
    for place in (".", "container", "tests/*/*", "examples/*")
    for path in sorted(ROOT.glob(f"{place}/requirements*.txt"))
    if pins(path)
)
