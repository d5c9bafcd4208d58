"""What image sizes amount to, and what is said where Docker fails. Nothing is built here."""

import json
from pathlib import Path

import pytest

from bench import image_size

MB = 1_000_000
SIZES = {"with_mxnet": 600, "without_mxnet": 450, "recipe": 1000, "recipe_as_published": 1400}

# Plays `docker`: sizes by the name of the tag, one file of 6 MB and one of 4.
STAND_IN = """#!/bin/sh
case "$1" in
info) echo '[["Backing Filesystem","extfs"]]' ;;
version) echo 20.10.24 ;;
build) echo "$*" >>"$BUILDS" ;;
run) printf '6000000 /opt/venv/lib/python3.11/site-packages/cv2/a.so\\n4000000 /usr/lib/x/b\\n' ;;
image) case "$5" in
    *:with_mxnet) echo 600000000 ;;
    *:without_mxnet) echo 450000000 ;;
    *:recipe) echo 1000000000 ;;
    *:recipe_as_published) echo 1400000000 ;;
    some-base) echo 100000000 ;;
    *) echo "no such image: $5" >&2; exit 1 ;;
    esac ;;
esac
"""


def play(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`docker` on the PATH is this script; the file in which it notes builds."""
    (folder / "docker").write_text(script)
    (folder / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("BUILDS", str(folder / "builds"))
    monkeypatch.setattr(image_size, "check_answers", lambda images: None)
    return folder / "builds"


def test_ratios_are_against_the_leaner_recipe() -> None:
    sizes = {name: mb * MB for name, mb in SIZES.items()}
    images = image_size.summary(sizes, {name: {} for name in sizes})["images"]
    assert {name: image["ratio"] for name, image in images.items()} == {
        "with_mxnet": 0.6,
        "without_mxnet": 0.45,
        "recipe": 1.0,
        "recipe_as_published": 1.4,
    }
    assert images["with_mxnet"]["met"] and not images["without_mxnet"]["met"]
    assert "met" not in images["recipe"]


def test_bytes_by_package_or_else_by_folder() -> None:
    packages = "/opt/venv/lib/python3.11/site-packages"
    lines = [
        f"3000000 {packages}/cv2/cv2.abi3.so",
        f"3000000 {packages}/cv2/data/a b.xml",
        "9000000 /opt/app/mxnet/libmxnet.so",
        "5000000 /usr/lib/x86_64-linux-gnu/perl/Encode.so",
        "4999999 /etc/passwd",
    ]
    assert list(image_size.tally(lines).items()) == [
        ("mxnet", 9 * MB),
        ("cv2", 6 * MB),
        ("/usr/lib/x86_64-linux-gnu", 5 * MB),
    ]


def test_all_four_are_built_alike_and_the_result_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    builds = play(STAND_IN, tmp_path, monkeypatch)
    out = tmp_path / "results" / "image_size.json"
    options = ["--build-arg", "BASE_IMAGE=some-base", "--network", "host", "--out", str(out)]
    assert image_size.main(options) == 0
    lines = builds.read_text().splitlines()
    assert len(lines) == 4
    assert all("--build-arg BASE_IMAGE=some-base" in line for line in lines)
    assert all("--network host" in line for line in lines)
    found = json.loads(out.read_text())
    assert found["base"] == {"image": "some-base", "bytes": 100 * MB}
    assert found["images"]["with_mxnet"]["contents"] == {"cv2": 6 * MB}
    printed = capsys.readouterr().out
    assert "0.7: met" in printed and "0.4: missed" in printed
    assert "ours, with MXNet, MB of what has 5 or more: cv2 6.0" in printed


def error(capsys: pytest.CaptureFixture[str]) -> str:
    """The last line that was printed, which has to be the one of the error."""
    lines = capsys.readouterr().out.splitlines()
    assert [line.startswith("error: ") for line in lines].count(True) == 1
    return lines[-1]


def test_without_docker_it_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert image_size.main([]) == 1
    assert error(capsys).startswith("error: there is no docker on the PATH: https://")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("build) echo", "build) echo no space left >&2; exit 1; echo"), "docker build: no space"),
        (("info) echo", "info) echo is it running? >&2; exit 1; echo"), "docker info: is it"),
        (("Backing Filesystem", "io.containerd.snapshotter.v1"), "keeps images in"),
        (("*:recipe) echo 1000000000", "*:recipe) exit 3"), "docker image: ended with status 3"),
    ],
)
def test_what_docker_says_is_one_line(
    change: tuple[str, str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    play(STAND_IN.replace(*change), tmp_path, monkeypatch)
    assert image_size.main(["--build-arg", "BASE_IMAGE=some-base"]) == 1
    assert message in error(capsys)


def test_the_base_is_the_one_that_both_dockerfiles_name() -> None:
    named = image_size.base_image([])
    assert f"ARG BASE_IMAGE={named}\n" in (image_size.RECIPE / "Dockerfile").read_text()
    assert image_size.base_image(["X=1", "BASE_IMAGE=some-base"]) == "some-base"
