"""Each peer in an environment of its own, made once from its locked requirements."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "bench" / "peers"
ENVIRONMENTS = ROOT / "build" / "peers"


class PeerError(Exception):
    """A peer could not be installed or started; the message says why."""


def python_of(folder: str) -> Path:
    """The interpreter of the peer in `bench/peers/<folder>`, installed when it is not yet.

    A peer without requirements runs in the environment that this runs in. Raises PeerError.
    """
    requirements = PEERS / folder / "requirements.txt"
    if not requirements.exists():
        return Path(sys.executable)
    environment = ENVIRONMENTS / folder
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
    locked = ["--quiet", "--only-binary", ":all:", "--require-hashes"]
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
