"""Image size: ours with and without MXNet, and the proof of concept's recipe on the same base.

All are built by `docker build`. A size is the sum of an image's layers, uncompressed, with what it
keeps of the base, as `docker image inspect` gives it. Of the recipe there are two: the leaner one
has only the libraries that MXNet loads, and ratios are against that; the other has the compilers
that the original has.

Each image answers one picture under AWS's emulator, the proof of concept's as ours do. Then: where
the bytes are. MB are 10^6 bytes. Ends with status 1 at a wrong answer, or where Docker fails.
"""

import argparse
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "container")]

from bench.answers import TOLERANCE, Gate, results  # noqa: E402 - found by the line above
from bench.measured import WrongAnswer  # noqa: E402
from bench.ours import data_uri  # noqa: E402
from bench.report import write  # noqa: E402
from ops import faces  # noqa: E402

OURS = ROOT / "container"
RECIPE = ROOT / "bench" / "peers" / "proof_of_concept"
PHOTO = OURS / "photos" / "cat.jpg"
LISTED_BYTES = 5_000_000


class DockerError(Exception):
    """Docker is not there or refuses; the message says why."""


@dataclass(frozen=True)
class Image:
    """What is built, and the goal for its size as a part of the leaner recipe's, if it has one."""

    name: str
    title: str
    context: Path
    arguments: Mapping[str, str]
    goal: float | None = None

    @property
    def tag(self) -> str:
        return f"bench-image-size:{self.name}"


WITH_MXNET = Image("with_mxnet", "ours, with MXNet", OURS, {"WITH_MXNET": "1"}, 0.7)
WITHOUT_MXNET = Image("without_mxnet", "ours, without MXNet", OURS, {"WITH_MXNET": "0"}, 0.4)
LEANER = Image("recipe", "proof of concept, no compilers", RECIPE, {"OURS": WITH_MXNET.tag})
PUBLISHED = Image(
    "recipe_as_published",
    "proof of concept, as published",
    RECIPE,
    {"OURS": WITH_MXNET.tag, "SYSTEM_PACKAGES": "build-essential"},
)
IMAGES = (WITH_MXNET, WITHOUT_MXNET, LEANER, PUBLISHED)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench/image_size.py", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--build-arg",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="for every build, such as BASE_IMAGE=...; may be repeated",
    )
    parser.add_argument("--network", help="the network of every build, such as host")
    parser.add_argument("--out", type=Path, help="write what was measured to this file")
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    try:
        engine = check_engine()
        for image in IMAGES:
            console.print(f"building: {image.title}")
            build(image, options.build_arg, options.network)
        check_answers(IMAGES)
        base = base_image(options.build_arg)
        sizes = {image.name: size_bytes(image.tag) for image in IMAGES}
        found = {
            "engine": engine,
            "base": {"image": base, "bytes": size_bytes(base)},
            **summary(sizes, {image.name: tally(files(image.tag)) for image in IMAGES}),
        }
    except (DockerError, WrongAnswer, faces.FaceError, urllib3.exceptions.HTTPError) as error:
        console.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return 1
    show(found, console)
    if options.out:
        write(options.out, found, console)
    return 0


def docker(*arguments: str) -> str:
    """What the command prints. Raises DockerError with the last line of what it says instead."""
    try:
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise DockerError(
            "there is no docker on the PATH: https://docs.docker.com/engine/install"
        ) from None
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        reason = lines[-1] if lines else f"ended with status {done.returncode}"
        raise DockerError(f"docker {arguments[0]}: {reason}")
    return done.stdout


def check_engine() -> str:
    """The engine's version. Raises DockerError where it would give other sizes."""
    if "io.containerd.snapshotter" in docker("info", "--format", "{{json .DriverStatus}}"):
        raise DockerError(
            "this engine keeps images in containerd, whose sizes count compressed layers: switch "
            'that off ("features": {"containerd-snapshotter": false} in daemon.json)'
        )
    return docker("version", "--format", "{{.Server.Version}}").strip()


def build(image: Image, arguments: Iterable[str], network: str | None) -> None:
    command = ["build", "--platform", "linux/amd64", "--tag", image.tag]
    for argument in (*arguments, *(f"{name}={value}" for name, value in image.arguments.items())):
        command += ["--build-arg", argument]
    if network:
        command += ["--network", network]
    docker(*command, str(image.context))


def base_image(arguments: Iterable[str]) -> str:
    """The base that was built on: as an argument says, or as our Dockerfile does."""
    given = [a.partition("=")[2] for a in arguments if a.startswith("BASE_IMAGE=")]
    default = re.findall(r"^ARG BASE_IMAGE=(\S+)", (OURS / "Dockerfile").read_text(), re.MULTILINE)
    return str([*default, *given][-1])


def size_bytes(image: str) -> int:
    return int(docker("image", "inspect", "--format", "{{.Size}}", image))


def files(image: str) -> list[str]:
    """A line for each file: its bytes and its path."""
    script = ["/", "-xdev", "-type", "f", "-printf", r"%s %p\n"]
    return docker("run", "--rm", "--entrypoint", "find", image, *script).splitlines()


def check_answers(images: Iterable[Image]) -> None:
    """Raises WrongAnswer where an image does not answer as the first one does, or FaceError."""
    event = {"uri": data_uri(PHOTO.read_bytes())}
    gate = None
    for image in images:
        with faces.lambda_container(image.tag) as face:
            answer = face.invoke(event)
        if not gate:
            if "results" not in answer:
                raise WrongAnswer(f"{image.title}: {answer}")
            gate = Gate(results(answer), TOLERANCE)
        gate.check(200, json.dumps(answer).encode())


def tally(lines: Iterable[str]) -> dict[str, int]:
    """Bytes by Python package, or else by the first three parts of the path; the largest first."""
    sizes: Counter[str] = Counter()
    for line in lines:
        size, _, path = line.partition(" ")
        package = re.match(r"/opt/(?:venv/lib/python[\d.]+/site-packages|app)/([^/]+)", path)
        sizes[package[1] if package else "/".join(path.split("/")[:4])] += int(size)
    return {name: size for name, size in sizes.most_common() if size >= LISTED_BYTES}


def summary(sizes: Mapping[str, int], contents: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """Of each image: bytes, its part of the leaner recipe's, whether the goal is met, contents."""
    found: dict[str, Any] = {}
    for image in IMAGES:
        ratio = sizes[image.name] / sizes[LEANER.name]
        met = {} if image.goal is None else {"goal": image.goal, "met": ratio <= image.goal}
        found[image.name] = {
            "title": image.title,
            "bytes": sizes[image.name],
            "ratio": ratio,
            **met,
            "contents": dict(contents[image.name]),
        }
    return {"images": found}


def show(found: Mapping[str, Any], console: Console) -> None:
    table = Table("image, uncompressed")
    for heading in ("MB", "of the leaner recipe", "goal"):
        table.add_column(heading, justify="right")
    for image in found["images"].values():
        goal = f"{image['goal']}: {'met' if image['met'] else 'missed'}" if "goal" in image else ""
        table.add_row(image["title"], _mb(image["bytes"]), f"{image['ratio']:.3f}", goal)
    console.print(table)
    base = found["base"]
    console.print(f"the base of all: {base['image']}, {_mb(base['bytes'])} MB", soft_wrap=True)
    for image in found["images"].values():
        entries = ", ".join(f"{name} {_mb(size)}" for name, size in image["contents"].items())
        console.print(f"\n{image['title']}, MB of what has 5 or more: {entries}", soft_wrap=True)


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
