"""`python -m ops`, as an operator runs it."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from rich.console import Console

from cases import PHOTOS
from ops import local
from ops.faces import ROOT, Reply


def ops(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ops", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_both_faces_give_the_same_answers_about_our_photographs() -> None:
    done = ops("local", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["identical"]
    best = {
        picture["picture"]: {
            answer["answer"]["results"][0]["label"] for answer in picture["faces"].values()
        }
        for picture in report["pictures"]
    }
    assert best == {
        "astronaut.webp": {"football helmet"},
        "cat.jpg": {"tiger cat"},
        "coffee.png": {"espresso"},
        "rocket.jpg": {"missile"},
    }


def test_a_picture_of_ones_own_is_shown_side_by_side() -> None:
    done = ops("local", "--image", str(PHOTOS / "cat.jpg"))
    assert done.returncode == 0, done.stderr
    assert "SageMaker face" in done.stdout
    assert "Lambda face" in done.stdout
    assert "yes, to the byte" in done.stdout
    assert "1 picture, both faces: identical answers." in done.stdout


def test_a_uri_is_left_to_the_faces() -> None:
    done = ops("local", "--json", "--image", "https://no-such-host.invalid/cat.jpg?signature=s")
    assert done.returncode == 1
    (picture,) = json.loads(done.stdout)["pictures"]
    assert picture["identical"]
    assert {face["status"] for face in picture["faces"].values()} == {424}


def test_a_picture_that_is_not_there() -> None:
    done = ops("local", "--image", "no/such.jpg")
    assert (done.returncode, done.stdout.strip()) == (
        2,
        "error: --image no/such.jpg: No such file or directory",
    )


def test_a_model_that_is_not_built() -> None:
    missing = subprocess.run(
        [sys.executable, "-m", "ops", "local"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "MODEL_NAME": "mobilnet1.0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert missing.returncode == 2
    assert "did you mean mobilenet1.0" in missing.stdout


def test_an_image_that_is_not_built(tmp_path: Path) -> None:
    """Each of the things that `--docker` needs is missed by name."""
    docker = tmp_path / "docker"
    found = []
    for script in (None, "exit 1", '[ "$1" = info ]'):
        if script:
            docker.write_text(f"#!/bin/sh\n{script}\n")
            docker.chmod(0o755)
        done = subprocess.run(
            [sys.executable, "-m", "ops", "local", "--docker", "no-such-image"],
            cwd=ROOT,
            env={"PATH": f"{tmp_path}:/bin-without-docker", "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        found.append(done.stdout.strip())
    assert found == [
        "error: there is no docker on the PATH: https://docs.docker.com/engine/install",
        "error: the Docker engine does not answer; start it, or look at `docker info`",
        "error: there is no image no-such-image; `make image IMAGE=no-such-image` builds it",
    ]


def test_help_has_examples() -> None:
    assert "python -m ops local --image cat.jpg" in ops("--help").stdout
    assert ops().returncode == 2


def test_what_each_mode_would_create() -> None:
    done = ops("plan", "--json")
    assert done.returncode == 0, done.stderr
    plans = json.loads(done.stdout)
    function, endpoint = "AWS::Lambda::Function", "AWS::SageMaker::Endpoint"
    assert [function in plans[mode] for mode in ("lambda", "sagemaker", "both")] == [
        True,
        False,
        True,
    ]
    assert [endpoint in plans[mode] for mode in ("lambda", "sagemaker", "both")] == [
        False,
        True,
        True,
    ]


class Fixed:
    """A face that always says the same; it stands for one that drifted."""

    def __init__(self, name: str, prob: str) -> None:
        self.name = name
        self._body = json.dumps({"results": [{"label": "cat", "prob": prob}]}).encode()

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        return Reply(200, {}, self._body, 0.001)


@pytest.mark.parametrize(("right", "same"), [("0.5", True), ("0.50000001", False)])
def test_a_difference_in_the_last_digit_is_a_difference(right: str, same: bool) -> None:
    picture = local.Picture("cat.jpg", "image/jpeg", b"")
    found = local.compare(picture, (Fixed("left", "0.5"), Fixed("right", right)))
    assert found.identical == same
    console = Console(width=100, record=True)
    with console.capture() as shown:
        local.show(found, console)
    assert ("yes, to the byte" in shown.get()) == same
    assert ("NO" in shown.get()) != same
