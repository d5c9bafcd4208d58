"""Our own side of every comparison: the HTTP face, its request, and how a round is watched."""

import base64
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import cv2

from bench.connection import Target
from bench.measured import Round, machine_cpu_seconds
from ops import faces
from ops.local import process_environment

# A shell may have switches of the libraries that make one side slower: an image has none.
_SWITCHES = (
    "OPENBLAS_",
    "OMP_",
    "GOMP_",
    "KMP_",
    "MKL_",
    "DNNL_",
    "ONEDNN_",
    "OV_",
    "NPY_",
    "OPENCV_",
)
# Our server's choices, which a peer does not get: entry.sh says why.
CHOICES = {"MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1"}


def image_environment() -> dict[str, str]:
    """What a process of the image has: its ENV and entry.sh's, no switches, compiled byte code."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_SWITCHES) or name == "OMP_NUM_THREADS"
    }
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**kept, **process_environment(), **CHOICES, "ORT_DISABLE_TELEMETRY": "1"}


def obey_image_settings() -> None:
    """Both sides read the same settings: those that `ops local` starts the server with."""
    environment = image_environment()
    os.environ.clear()
    os.environ.update({"OMP_NUM_THREADS": "1", **environment})


def data_uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def observed(side: Callable[[], Round]) -> Round:
    """A round, and what the machine was busy with meanwhile that was not ours."""
    machine_before, started = machine_cpu_seconds(), time.perf_counter()
    found = side()
    seconds = time.perf_counter() - started
    all_cpus = (machine_cpu_seconds() - machine_before) / seconds
    our_cpus = found.requests * found.cpu_ms_per_request / 1000 / seconds + found.client_cpus
    return replace(found, other_cpus=max(0.0, all_cpus - our_cpus))


@contextmanager
def server(workers: int) -> Iterator[tuple[Target, int]]:
    """`entry.sh serve`, and its process id, once every worker has loaded the model.

    Raises FaceError.
    """
    port = faces.free_port()
    command = [str(faces.ENTRY), "serve", "--host", "127.0.0.1", "--port", str(port)]
    with faces.running(command, {}) as process:
        deadline = time.monotonic() + faces.START_SECONDS
        while process.output.count('"message": "ready"') < workers:
            process.check()
            if time.monotonic() > deadline:
                raise faces.FaceError(f"{workers} workers are not ready: {process.output[-500:]}")
            time.sleep(0.05)
        yield Target(f"http://127.0.0.1:{port}/invocations"), process.pid


def photograph() -> bytes:
    pixels = cv2.imread(str(faces.ROOT / "container" / "photos" / "coffee.png"))
    small = cv2.resize(pixels, (640, 480), interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 90])[1])
