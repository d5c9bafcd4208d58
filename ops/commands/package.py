"""`python -m ops package DIR`: check an artifact as the image does, and pack it as `model.tar.gz`.

The same folder always gives the same archive. --upload stores it under its model id, so that no
upload replaces a deployed model.
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
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ops import cli
from ops.aws import Aws
from ops.commands.plan import cdk_deploy
from ops.local_servers import DOCKER_RUN, ROOT, require_image
from ops.model_data import store

_CONTAINER = ROOT / "container"
# Weights hardly shrink: higher levels take 1.5 times as long and save 0.4 %.
_COMPRESSION = 1
_EPHEMERAL_MB, _SPARE_MB = 512, 64  # Lambda's default for /tmp, and the room for other files
# The context key `model_data` has the same rule.
_PLACE = r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9_!.()'=+@:-]+)*/?"
EXAMPLES = """\
examples:
  python -m ops package cats --upload s3://models/production  store it, and print its `cdk deploy`
  python -m ops package cats --docker                         also start it in the image
  python -m ops package examples/iris                         pack a model with its own inference.py
  python -m ops package cats --expect 1b9fe18a1b0a...         refuse any other model

exit status: 0 packed, and stored if asked; 1 refused; 2 it could not be checked or stored
"""


class Refused(Exception):
    """The artifact cannot be packed; the message is one line."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("folder", type=Path, metavar="DIR", help="the artifact's folder, or a model folder")
    add("--out", type=Path, metavar="FILE", help="default: DIR.tar.gz, beside DIR")
    add("--force", action="store_true", help="overwrite FILE if another program made it")
    add("--expect", metavar="ID", help="refuse any other model id")
    add("--upload", metavar="S3_URI", help="store it as S3_URI/MODEL_ID/model.tar.gz")
    add("--region", help="the bucket's region (default: AWS_REGION or the profile's)")
    cli.add_docker_argument(parser, "start it in this image for the check")
    cli.add_json_argument(parser)


def run(options: argparse.Namespace) -> int:
    """Make the archive; return 0, or 1 if it is refused."""
    try:
        made = package(options)
    except Refused as error:
        cli.print_error(str(error))
        return 1
    if options.json:
        cli.print_json(made)
        return 0
    for warning in made["warnings"]:
        cli.print_plain(f"! {warning}", "yellow")
    name = f" ({made['name']})" if made["name"] else ""
    size = f"{made['archive_bytes']:,} bytes, {made['files']} files"
    cli.print_plain(f"model id  {made['model_id']}{name}\narchive   {made['archive']}, {size}")
    if place := made["model_data"]:
        cli.print_plain(f"{'stored' if made['uploaded'] else 'there already':<9} {place}")
    hint = "" if place else "\n(--upload s3://BUCKET/PREFIX stores it there first)"
    cli.print_plain(f"\n{made['deploy']}{hint}")
    return 0


def package(options: argparse.Namespace) -> dict[str, Any]:
    """Return what --json prints. Raise Refused, CannotAsk, FaceError, OSError or AWS_ERRORS."""
    folder = options.folder.resolve()
    out = (options.out or folder.parent / f"{folder.name}.tar.gz").resolve()
    model_folder = folder if (folder / "inference.py").is_file() else None
    folder = folder / "artifact" if model_folder else folder
    if out.is_relative_to(folder):
        raise Refused(f"{out} would be a part of the artifact; choose a file outside of {folder}")
    if out.exists() and not (options.force or _is_ours(out)):
        fix = "choose another file with --out, or add --force"
        raise Refused(f"{out} exists and was not made by this command; {fix}")
    place = options.upload or "s3://BUCKET/PREFIX"
    if options.upload and not re.fullmatch(_PLACE, place):
        raise Refused(f"--upload {place} is not a place in S3; use s3://BUCKET/PREFIX")
    with cli.Spinner(f"checking {folder.name}"):
        if model_folder and (model_folder / "golden.json").is_file():
            exam = [sys.executable, "-m", "build_artifact.exam", str(model_folder)]
            _output(exam, model_folder)
        found = check(folder, options.docker, model_folder and model_folder / "inference.py")
    model_id = found["model_id"]
    if options.expect not in (None, model_id):
        raise Refused(f"{folder} has model id {model_id}, and --expect asks for {options.expect}")
    with cli.Spinner(f"packing {out.name}"):
        pack(folder, found.pop("names"), out)
    uri = f"{place.rstrip('/')}/{model_id}/model.tar.gz"
    uploaded = None
    if options.upload:
        aws = Aws(options.region)
        aws.sign_in()
        with cli.Spinner(f"uploading {out.name}"):
            uploaded = store(aws, out, uri, model_id)
    return {
        **found,
        "archive": str(out),
        "archive_bytes": out.stat().st_size,
        "model_data": uri if options.upload else None,
        "uploaded": uploaded,
        "deploy": deploy_command(uri, model_id, found["bytes"], model_folder and options.folder),
    }


def check(folder: Path, image: str | None, inference: Path | None) -> dict[str, Any]:
    """Return the output of `build_artifact.check`. Raise Refused or FaceError.

    It runs here with the file `inference`, or in an image, which has its own file.
    """
    command = [sys.executable, "-m", "build_artifact.check", str(folder)]
    if image:
        require_image(image)
        mounts = [f"--volume={folder}:/artifact:ro", f"--volume={_CONTAINER}:/checks:ro"]
        options = [*mounts, "--network=none", "--env=PYTHONPATH=/opt/program:/checks"]
        command = [*DOCKER_RUN, *options, "--entrypoint=python3", image, *command[1:3], "/artifact"]
    printed = _output(command, folder, INFERENCE=str(inference or ""))
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found


def _output(command: Sequence[str], folder: Path, **variables: str) -> str:
    """Run a module of container/, and return what it prints about a folder. Raise Refused."""
    variables |= {"PYTHONPATH": str(_CONTAINER), "PYTHONDONTWRITEBYTECODE": "1"}
    environment = {**os.environ, **variables}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["(no output)"])[-1]
        raise Refused(why.removeprefix("error: ").replace("/artifact", str(folder)))
    return done.stdout


def _is_ours(path: Path) -> bool:
    """Check whether `pack` may have written a file, whose first member has no time or owner."""
    try:
        with tarfile.open(path, "r:gz") as archive:
            first = archive.next()
    except (OSError, EOFError, tarfile.TarError, zlib.error):
        return False
    return first is not None and (first.mtime, first.mode, first.uname) == (0, 0o644, "")


def pack(folder: Path, names: Sequence[str], out: Path) -> None:
    """Write these files of a folder to a .tar.gz without times or owners."""
    partial = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with (
            partial.open("wb") as raw,
            gzip.GzipFile("", "wb", _COMPRESSION, raw, mtime=0) as plain,
            tarfile.open(fileobj=plain, mode="w") as archive,
        ):
            for name in names:
                member = tarfile.TarInfo(name)
                member.size = (folder / name).stat().st_size
                with (folder / name).open("rb") as file:
                    archive.addfile(member, file)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def deploy_command(uri: str, model_id: str, unpacked_bytes: int, model_folder: Path | None) -> str:
    """Return the artifact's `cdk deploy` command, with room in /tmp to unpack it on Lambda."""
    needed = math.ceil(unpacked_bytes / 1024**2) + _SPARE_MB
    keys = {"model_folder": str(model_folder)} if model_folder else {}
    keys |= {"model_data": uri, "model_id": model_id}
    keys |= {"lambda_ephemeral_mb": str(needed)} if needed > _EPHEMERAL_MB else {}
    return cdk_deploy(keys)
