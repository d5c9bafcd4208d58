"""`python -m ops`, as an operator runs it."""

import subprocess
import sys
from pathlib import Path

from ops.local_servers import ROOT
from support.cases import PHOTOS

CAT = PHOTOS / "cat.jpg"


def ops(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m ops`; `variables` replace the whole environment."""
    command, env = [sys.executable, "-m", "ops", *arguments], variables or None
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def test_the_answers_of_both_faces_are_shown() -> None:
    done = ops("parity", "--local", "--repeats", "1", "--inputs", "container/photos", str(CAT))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    shown = [line for line in lines if line.startswith("- ") and line[2] not in "✓!"]
    cat = "- cat.jpg: tiger cat 0.3848"
    assert [line.split(", ")[0] for line in shown] == [
        "- astronaut.webp: football helmet 0.2002",
        cat,
        "- coffee.png: espresso 0.9515",
        "- rocket.jpg: missile 0.4215",
        cat,
    ]
    assert lines[-1] == "The same: 5 inputs, Lambda face and SageMaker face."


def test_what_is_not_built_is_missed_by_name(tmp_path: Path) -> None:
    """Leave out a model, and then each requirement of `--docker`."""
    missing = ops("parity", "--local", PATH="/usr/bin:/bin", MODEL_NAME="mobilnet1.0")
    assert (missing.returncode, "did you mean mobilenet1.0" in missing.stderr) == (2, True)
    docker = tmp_path / "docker"
    found = []
    for script in (None, "exit 1", '[ "$1" = info ]'):
        if script:
            docker.write_text(f"#!/bin/sh\n{script}\n")
            docker.chmod(0o755)
        path = f"{tmp_path}:/bin-without-docker"
        done = ops("parity", "--docker", "no-such-image", PATH=path, COLUMNS="200")
        assert done.returncode == 2
        found.append(done.stderr.strip())
    assert found == [
        "error: there is no docker on the PATH: https://docs.docker.com/engine/install",
        "error: the Docker engine does not answer; start it, or look at `docker info`",
        "error: there is no image no-such-image; `make image IMAGE=no-such-image` builds it",
    ]


def test_help_has_examples() -> None:
    assert "python -m ops parity --local --inputs cat.jpg" in ops("--help").stdout
    assert ops().returncode == 2
