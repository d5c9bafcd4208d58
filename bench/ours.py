"""Our own side of every comparison: the HTTP face, its request, and how a round is watched."""

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


def obey_image_settings() -> None:
    """Both sides read the same settings: those that `ops local` starts the server with."""
    os.environ.update(process_environment())
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("MALLOC_ARENA_MAX", "1")  # as entry.sh does


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
