"""`python -m ops package DIR`: an artifact, checked as the image checks it, as `model.tar.gz`.

The same folder makes the same file, to the byte. With --upload it is stored under its model id, so
that another artifact never takes its place, and what is deployed stays what it was.
"""

import argparse
import gzip
import json
import math
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from ops.aws import AWS_ERRORS, Aws, CannotAsk, explain
from ops.faces import ROOT, FaceError, require_image
from ops.model_data import store

EXAMPLES = """\
examples:
  python -m ops package build/artifacts/cats                  writes build/artifacts/cats.tar.gz
  python -m ops package cats --upload s3://models/production  and stores it, with the key to deploy
  python -m ops package cats --docker                         started in the image, not only read
  python -m ops package examples/iris                         a model that has its inference.py
  python -m ops package cats --expect 1b9fe18a1b0a...         refuses any other model

exit status: 0 made, and stored if asked to; 1 refused; 2 it could not be checked or stored
"""
# Weights hardly shrink: more than 1 takes half as long again and saves 0.4 %.
_COMPRESSION = 1
# Of a function's /tmp by default, and what of it is left for others.
_EPHEMERAL_MB, _SPARE_MB = 512, 64
# What the key model_data takes.
_PLACE = r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9_!.()'=+@:-]+)*/?"


class Refused(Exception):
    """The artifact is not made or not stored; one line that says why."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "folder", metavar="DIR", type=Path, help="the artifact's folder, or a model folder"
    )
    parser.add_argument("--out", metavar="FILE", type=Path, help="default: DIR.tar.gz, beside it")
    parser.add_argument("--expect", metavar="ID", help="refuse any other model id")
    parser.add_argument(
        "--upload", metavar="S3_URI", help="store it as S3_URI/MODEL_ID/model.tar.gz"
    )
    parser.add_argument("--region", help="of the bucket (default: AWS_REGION or the profile's)")
    parser.add_argument(
        "--docker",
        nargs="?",
        const="one-image",
        metavar="IMAGE",
        help="check it in this image (default: one-image, what `make image` builds), which can "
        "start any artifact that it serves",
    )
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")


def run(options: argparse.Namespace) -> int:
    """Exit status 0: made; 1: refused; 2: it could not be checked or stored."""
    errors = Console(stderr=True)
    try:
        made = package(options, errors)
    except Refused as error:
        status, say = 1, str(error)
    except CannotAsk as error:
        status, say = 2, str(error)
    except FaceError as error:
        status, say = 2, str(error)
    except OSError as error:
        status, say = 2, f"{error.filename}: {error.strerror}"
    except AWS_ERRORS as error:
        status, say = 2, str(explain(error, "sts:GetCallerIdentity"))
    else:
        if options.json:
            print(json.dumps(made, indent=2))
        else:
            show(made)
        return 0
    errors.print(f"error: {say}", style="red", markup=False, highlight=False, soft_wrap=True)
    return status


def package(options: argparse.Namespace, errors: Console) -> dict[str, Any]:
    """What --json prints. Raises Refused, CannotAsk, FaceError, OSError or one of AWS_ERRORS."""
    folder = options.folder.resolve()
    out = (options.out or folder.parent / f"{folder.name}.tar.gz").resolve()
    model_folder = folder if (folder / "inference.py").is_file() else None
    folder = folder / "artifact" if model_folder else folder
    if out.is_relative_to(folder):
        raise Refused(f"{out} would be a part of the artifact; name a file outside of {folder}")
    place = options.upload or "s3://BUCKET/PREFIX"
    if options.upload and not re.fullmatch(_PLACE, place):
        raise Refused(f"--upload {place} is no place in S3; name it s3://BUCKET/PREFIX")
    with errors.status(f"checking {folder.name}"):
        found = check(folder, options.docker, model_folder and model_folder / "inference.py")
    model_id = found["model_id"]
    if options.expect not in (None, model_id):
        raise Refused(f"{folder} has model id {model_id}, and --expect asks for {options.expect}")
    with progress(errors, f"packing {out.name}", found["bytes"]) as advance:
        pack(folder, out, advance)
    size = out.stat().st_size
    uri = f"{place.rstrip('/')}/{model_id}/model.tar.gz"
    uploaded = None
    if options.upload:
        with progress(errors, "uploading", size) as advance:
            uploaded = store(Aws(options.region), out, uri, model_id, advance)
    return {
        **found,
        "archive": str(out),
        "archive_bytes": size,
        "model_data": uri if options.upload else None,
        "uploaded": uploaded,
        "deploy": deploy_command(uri, model_id, found["bytes"], model_folder and options.folder),
    }


def check(folder: Path, image: str | None, inference: Path | None) -> dict[str, Any]:
    """What `build_artifact.check` prints, run by this Python or in an image.

    By this Python it is started by the file `inference`, where that is given; an image has its own.
    In a process of its own: the image's code is no part of the tools. Raises Refused or FaceError.
    """
    module = ["-m", "build_artifact.check"]
    container = ROOT / "container"
    if image:
        require_image(image)
        command = ["docker", "run", "--rm", "--platform", "linux/amd64", "--network", "none"]
        command += ["--volume", f"{folder}:/artifact:ro", "--volume", f"{container}:/checks:ro"]
        command += ["--env", "PYTHONPATH=/opt/program:/checks"]
        command += ["--entrypoint", "python3", image, *module, "/artifact"]
    else:
        command = [sys.executable, *module, str(folder)]
    done = subprocess.run(
        command,
        env={
            **os.environ,
            "PYTHONPATH": str(container),
            "PYTHONDONTWRITEBYTECODE": "1",
            **({"INFERENCE": str(inference)} if inference else {}),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["(no output)"])[-1]
        raise Refused(why.removeprefix("error: ").replace("/artifact", str(folder)))
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def pack(folder: Path, out: Path, advance: Callable[[int], None]) -> None:
    """Write a folder's files as .tar.gz, in the order of their names, without times or owners."""
    partial = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with (
            partial.open("wb") as raw,
            gzip.GzipFile("", "wb", _COMPRESSION, raw, mtime=0) as plain,
            tarfile.open(fileobj=plain, mode="w") as archive,
        ):
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                member = tarfile.TarInfo(path.relative_to(folder).as_posix())
                member.size = path.stat().st_size
                with path.open("rb") as file:
                    archive.addfile(member, file)
                advance(member.size)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def deploy_command(uri: str, model_id: str, unpacked_bytes: int, model_folder: Path | None) -> str:
    """With as much of /tmp as Lambda needs to unpack it."""
    needed = math.ceil(unpacked_bytes / 1024**2) + _SPARE_MB
    ephemeral = f" -c lambda_ephemeral_mb={needed}" if needed > _EPHEMERAL_MB else ""
    served_by = f" -c model_folder={model_folder}" if model_folder else ""
    return f"cdk deploy{served_by} -c model_data={uri} -c model_id={model_id}{ephemeral}"


@contextmanager
def progress(console: Console, what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal. It yields what is told of each further bytes, from any thread."""
    text = TextColumn("{task.description}")
    columns = (text, BarColumn(), DownloadColumn(), TransferSpeedColumn())
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task(what, total=total)
        yield lambda size: bar.advance(task, size)


def show(made: dict[str, Any]) -> None:
    console = Console()
    for warning in made["warnings"]:
        console.print("!", style="yellow", end=" ")
        console.out(warning, highlight=False)
    name = f" ({made['name']})" if made["name"] else ""
    lines = [
        f"model id  {made['model_id']}{name}",
        f"archive   {made['archive']}, {made['archive_bytes']:,} bytes, {made['files']} files",
    ]
    if made["model_data"]:
        stored = "stored" if made["uploaded"] else "there already"
        lines.append(f"{stored:<9} {made['model_data']}")
    console.out("\n".join([*lines, "", made["deploy"]]), highlight=False)
    if not made["model_data"]:
        console.out("(--upload s3://BUCKET/PREFIX stores it there first)", highlight=False)
