"""The Makefile's commands, as `make -n` prints them."""

import os
import socket
from pathlib import Path

import pytest

from support.programs import Done, run


def make(*arguments: str) -> Done:
    return run(["make", "--no-print-directory", *arguments])


def commands(*arguments: str) -> str:
    """Return what make would run if a source of the artifact had changed."""
    done = make("--dry-run", "--what-if", "container/serving/core/logs.py", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_make_serves_an_existing_model(tmp_path: Path) -> None:
    """Make rebuilds a zoo model. For an unknown name it runs the builder, which lists the names."""
    (tmp_path / "model.onnx").touch()
    (tmp_path / "manifest.json").touch()
    there, nowhere = f"ARTIFACT={tmp_path}", f"ARTIFACT={tmp_path}/nowhere"
    assert "build_artifact mine" not in commands("serve", "MODEL_NAME=mine", there)
    assert "build_artifact mine" in commands("serve", "MODEL_NAME=mine", nowhere)
    assert "build_artifact alexnet" in commands("lambda", "MODEL_NAME=alexnet", there)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("lambda PORT=65535", "PORT=65535 is not a port; give a whole number from 1 to 65534"),
        ("serve MODEL_FOLDER=nowhere", "MODEL_FOLDER=nowhere has no inference.py; `make new-"),
        ('new-model NAME=a";echo', "error: NAME='a\";echo': it must be 1 to 128 letters"),
    ],
)
def test_a_broken_variable_is_refused_in_one_line(arguments: str, said: str) -> None:
    done = make(*arguments.split())
    lines = [line for line in done.stderr.splitlines() if not line.endswith("Error 2")]
    assert (done.returncode, done.stdout, len(lines)) == (2, "", 1), done.stderr
    assert said in lines[0]


@pytest.mark.parametrize("system", ["Darwin arm64", "Linux aarch64"])
def test_an_arm_machine_builds_a_native_image_and_names_the_command(
    system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uname = f'#!/bin/sh\n[ "$1" = -m ] && echo {system.split()[1]} || echo {system}\n'
    (tmp_path / "uname").write_text(uname)
    for name in ("uname", "docker"):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    printed = commands("image")
    assert "--platform linux/arm64 " in printed
    assert '--build-arg WITH_MXNET="0"' in printed
    assert "--platform linux/amd64 " in commands("image", "ARCHITECTURE=x86_64")
    done = make("--dry-run", "demo")
    (line,) = done.stderr.splitlines()
    assert "natively in a container: `make image`, then `pip install -r requirements.txt " in line
    assert (done.returncode, done.stdout) == (2, "")


def test_a_port_in_use_is_refused_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = make("lambda", "SERVED=", f"PORT={port}")
    said, end = done.stderr.splitlines()
    wanted = f"error: in use: [{port}]; `make lambda PORT=...` takes another port and the next"
    assert said == wanted
    assert (done.returncode, end.endswith("Error 1")) == (2, True)


def test_the_build_gets_user_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docker").touch(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    monkeypatch.delenv("BASE_IMAGE", raising=False)
    printed = commands("image", "AWS_SERVICES=s3 sts")
    assert '--build-arg PIP_INDEX_URL="https://mirror.example/simple"' in printed
    assert '--build-arg AWS_SERVICES="s3 sts"' in printed
    assert "BASE_IMAGE" not in printed
