"""Run programs as users do, without a terminal."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ops.local_servers import ROOT

BIN = Path(sys.executable).parent
PATH = f"{BIN}{os.pathsep}{os.environ['PATH']}"

Done = subprocess.CompletedProcess[str]


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> Done:
    """Return a program's output and its status, whatever it is."""
    return subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout, check=False
    )


def cdk(*arguments: str | Path, cwd: Path = ROOT, env: Mapping[str, str] = os.environ) -> Done:
    environment = {**env, "PATH": PATH, "CDK_DISABLE_CLI_TELEMETRY": "true"}
    return run(["cdk", *arguments, "--no-notices"], cwd=cwd, env=environment)


def copied_project(folder: Path, inference_ends: str = "") -> Path:
    """Copy what the CDK reads into a folder, and append to its inference.py."""
    for name in ("container", "infra", "ops"):  # the stack reads the prices of ops
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("app.py", "cdk.json"):
        shutil.copy(ROOT / name, folder)
    with (folder / "container" / "serving" / "inference.py").open("a") as inference:
        inference.write(inference_ends)
    return folder
