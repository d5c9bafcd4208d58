"""Numerics: how far an answer moves when another CPU, or another setting, computes it.

The libraries of the image choose kernels by the CPU's instruction sets, and Lambda's CPUs are not
SageMaker's. Each side answers about the same pictures in a process of its own and is compared with
this machine as the image uses it, stage by stage:

    emulated CPUs    qemu-x86_64 (Debian's package qemu-user) shows the libraries an older CPU and
                     runs the kernels that they choose for it, exactly and slowly
    switches         each library's own, against its best kernels
    settings         threads and graph levels of ONNX Runtime
    MXNet            for scale: another engine, with other kernels

The pictures are the photographs in container/photos, and each of them turned and mirrored. Ends
with status 1 when a probability moves by more than 1e-5. Nothing is timed.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "container")]

from bench.answers import TOLERANCE  # noqa: E402 - found by the line above
from bench.ours import obey_image_settings  # noqa: E402
from bench.report import write  # noqa: E402
from bench.sides import (  # noqa: E402
    CONTROL,
    EMULATED,
    EMULATOR,
    NATIVE,
    SIDES,
    Record,
    SideError,
    run,
)
from bench.stages import STAGES  # noqa: E402
from ops.local import default_pictures  # noqa: E402
from serving.artifact import resolve  # noqa: E402
from serving.errors import StartError  # noqa: E402
from serving.images import decode  # noqa: E402
from serving.settings import Settings  # noqa: E402


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench/numerics.py", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="the photographs only as they are")
    parser.add_argument("--out", type=Path, help="write what was measured to this file")
    options = parser.parse_args(arguments)
    obey_image_settings()
    console, emulator = Console(highlight=False), shutil.which(EMULATOR)
    sides = [side for side in SIDES if emulator or not side.cpu]
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        pictures = Path(temporary)
        try:
            artifact = resolve(Settings.from_environment(os.environ)).folder
            count = write_pictures(pictures, turned=not options.quick)
            native = run(NATIVE, artifact, pictures)
            for side in sides:
                found[side.name] = against(native, run(side, artifact, pictures))
                moved = _figure(found[side.name]["probabilities"])
                console.print(f"{side.name}: the largest difference of a probability is {moved}")
            control = _control(artifact, pictures, console) if emulator else None
        except (SideError, StartError, OSError) as error:
            console.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
            return 1
    _show(found, count, console)
    if not emulator:
        console.print(
            f"NOT MEASURED: {', '.join(side.name for side in EMULATED)}; {EMULATOR} is not on the "
            "PATH (Debian: apt-get install qemu-user)",
            style="red",
            soft_wrap=True,
        )
    if options.out:
        document = {
            "emulator": _version(emulator) if emulator else None,
            "emulator_control": control,
            "artifact": artifact.name,
            "pictures": count,
            "limit": TOLERANCE,
            "native": {name: str(native[name]) for name in ("numpy", "opencv")},
            "sides": {side.name: {"cpu": side.cpu or None, **found[side.name]} for side in sides},
        }
        write(options.out, document, console)
    beyond = [name for name, of in found.items() if not of["probabilities"] <= TOLERANCE]
    for name in beyond:
        console.print(
            f"error: {name} moves a probability by more than {TOLERANCE:.0e}", style="red"
        )
    return 1 if beyond else 0


def write_pictures(folder: Path, *, turned: bool) -> int:
    """The photographs, and if asked each in its seven other orientations; how many that are."""
    for photo in map(Path, default_pictures()):
        data = photo.read_bytes()
        (folder / photo.name).write_bytes(data)
        pixels = decode(data)[:, :, ::-1]  # as OpenCV has them: BGR
        for number in range(1, 8 if turned else 1):
            other = np.rot90(pixels[:, ::-1] if number & 4 else pixels, number & 3)
            png = cv2.imencode(".png", np.ascontiguousarray(other))[1]
            (folder / f"{photo.stem}-{number}.png").write_bytes(png.tobytes())
    return len(list(folder.iterdir()))


def against(native: Record, other: Record) -> dict[str, Any]:
    """The largest difference at each stage, and how many answers have other bytes, other labels."""
    names = [key.rpartition("/")[0] for key in native if key.endswith("/answer")]
    answers = [(str(native[f"{name}/answer"]), str(other[f"{name}/answer"])) for name in names]
    found: dict[str, Any] = {}
    for stage in STAGES:
        pairs = [(native[f"{name}/{stage}"], other[f"{name}/{stage}"]) for name in names]
        found[stage] = float(np.max([_difference(*pair) for pair in pairs]))
    found["other_bytes"] = sum(a != b for a, b in answers)
    found["other_labels"] = sum(_labels(a) != _labels(b) for a, b in answers)
    return {**found, "numpy": str(other["numpy"]), "opencv": str(other["opencv"])}


def _control(artifact: Path, pictures: Path, console: Console) -> dict[str, Any]:
    """How far the emulator's arithmetic is from this machine's. Raises SideError."""
    here, emulated = (run(side, artifact, pictures) for side in CONTROL)
    found = against(here, emulated)
    names, moved = " and ".join(side.name for side in CONTROL), _figure(found["logits"])
    console.print(f"control, {names}: the largest difference of a logit is {moved}", soft_wrap=True)
    return found


def _difference(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    if a.shape != b.shape:
        return float("inf")
    return float(np.abs(a.astype(np.float64) - b).max())


def _labels(answer: str) -> list[str]:
    return [one["label"] for one in json.loads(answer)["results"]]


def _version(emulator: str) -> str:
    done = subprocess.run([emulator, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.partition("\n")[0]


def _figure(value: float) -> str:
    return "0" if value == 0 else f"{value:.1e}"


def _show(found: Mapping[str, Mapping[str, Any]], count: int, console: Console) -> None:
    table = Table(title=f"Against this machine as it is: the largest differences, {count} pictures")
    table.add_column("side", no_wrap=True)
    for heading in (*STAGES[:-1], "prob.", "other\nbytes", "other\nlabels"):
        table.add_column(heading, justify="right")
    for name, of in found.items():
        figures = [_figure(of[stage]) for stage in STAGES]
        table.add_row(name, *figures, str(of["other_bytes"]), str(of["other_labels"]))
    console.print(table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
