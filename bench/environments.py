"""Each peer and engine in an environment of its own, made once from locked requirements."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "bench" / "peers"


class PeerError(Exception):
    """A peer or engine could not be installed, made ready or started; the message says why."""


def python_of(folder: str, kind: str = "peers") -> Path:
    """The interpreter of what is in `bench/<kind>/<folder>`, installed when it is not yet.

    One without requirements runs in the environment that this runs in. Raises PeerError.
    """
    requirements = ROOT / "bench" / kind / folder / "requirements.txt"
    if not requirements.exists():
        return Path(sys.executable)
    environment = ROOT / "build" / kind / folder
    installed = environment / "installed"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if not installed.exists() or installed.read_text() != digest:
        _install(environment, requirements)
        installed.write_text(digest)
    return environment / "bin" / "python"


def _install(environment: Path, requirements: Path) -> None:
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if not uv:
        raise PeerError("there is no uv: `make bench` installs it")
    python = str(environment / "bin" / "python")
    # A locked file is complete; an engine's leaves out on purpose what its wheel would draw in.
    locked = ["--quiet", "--only-binary", ":all:", "--require-hashes", "--no-deps"]
    for command in (
        [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(environment)],
        [uv, "pip", "install", *locked, "--python", python, "-r", str(requirements)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
        if done.returncode:
            words = done.stderr.strip()[-800:]
            raise PeerError(f"{environment.name} cannot be installed: {words}")


def versions(python: Path, packages: tuple[str, ...]) -> dict[str, str]:
    """What is installed there, of the packages that are named."""
    code = "import sys; from importlib.metadata import version as v; print(*map(v, sys.argv[1:]))"
    command = [str(python), "-c", code, *packages]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return dict(zip(packages, output.split()))


def installed_mb(python: Path, packages: tuple[str, ...]) -> float:
    """What their files take on the disk, in 10^6 bytes, without byte code."""
    code = (
        "import sys; from importlib.metadata import files as of; "
        "paths = [file.locate() for name in sys.argv[1:] for file in of(name)]; "
        "print(sum(p.stat().st_size for p in paths if p.is_file() and p.suffix != '.pyc'))"
    )
    command = [str(python), "-c", code, *packages]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return int(output) / 1e6
