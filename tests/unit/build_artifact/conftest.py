"""Run `python -m build_artifact` as a user does, with the exporter's environment."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ops.local_servers import ROOT
from support.programs import Done, run

Build = Callable[..., Done]


@pytest.fixture(scope="session")
def exporter() -> Path:
    """Return the Python of `.venv-builder`, which `make test` creates."""
    return ROOT / ".venv-builder" / "bin" / "python"


@pytest.fixture
def build(tmp_path: Path, exporter: Path) -> Build:
    """Return a function that runs the command. A shell script may replace the exporter."""

    def build(
        name: str, output: Path, *options: str | Path, script: str = "", **environment: str
    ) -> Done:
        python = exporter
        if script:
            python = tmp_path / "exporter"
            python.write_text(f"#!/bin/sh\nset -e\n{script}\n")
            python.chmod(0o755)
        command = [sys.executable, "-m", "build_artifact", name, output, "--exporter", python]
        paths = {"PYTHONPATH": str(ROOT / "container"), "NO_PROXY": "127.0.0.1"}
        return run([*command, *options], env={**os.environ, **paths, **environment})

    return build
