"""A peer as a process: started, ready in every worker, stopped with all that it started."""

import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.connection import Target
from bench.environments import PEERS, ROOT, PeerError, python_of
from bench.load import Check, NoAnswer, drive
from bench.measured import start_ticks, tree
from bench.ours import CHOICES
from bench.rivals import Peer
from ops import faces

START_SECONDS = 120
STOP_SECONDS = 10

# The documented switches against telemetry: ONNX Runtime's, BentoML's, and the common one.
QUIET = {"ORT_DISABLE_TELEMETRY": "1", "BENTOML_DO_NOT_TRACK": "True", "DO_NOT_TRACK": "1"}


@dataclass(frozen=True)
class Server:
    """A server that answers; its processes are `pid` and what descends from it."""

    target: Target
    pid: int
    seconds_to_start: float


@contextmanager
def peer(rival: Peer, workers: int, artifact: Path, photo: bytes, check: Check) -> Iterator[Server]:
    """Yields once every process has the model and an answer was right.

    Raises PeerError, and WrongAnswer.
    """
    python = python_of(rival.folder)
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="peer-") as name:
        folder = Path(name)
        (folder / "ready").mkdir()
        (folder / "photo.jpg").write_bytes(photo)
        for path, text in rival.files(port, workers).items():
            (folder / path).write_text(text)
        environment = {
            **os.environ,
            **QUIET,
            "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(
                str(path) for path in (PEERS / rival.folder, PEERS / "shared", ROOT / "container")
            ),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": name,  # what they keep there goes with the folder
            "TMPDIR": name,
            "OMP_NUM_THREADS": "1",
            "BENCH_ARTIFACT": str(artifact),
            "BENCH_PHOTO": str(folder / "photo.jpg"),
            "BENCH_READY": str(folder / "ready"),
            **rival.settings(port, workers),
        }
        # One heap for all threads made none of the peers faster.
        for variable in (*CHOICES, *rival.variables_left):
            environment.pop(variable, None)
        started = time.monotonic()
        target = Target(f"http://127.0.0.1:{port}/invocations")
        with process(rival.command(python, port, workers), environment, folder) as child:
            _wait(child, folder / "ready", rival.processes(workers))
            _first_answer(child, target, photo, check)
            yield Server(target, child.pid, time.monotonic() - started)


@contextmanager
def process(
    command: Sequence[str], environment: Mapping[str, str], folder: Path
) -> Iterator[faces.Process]:
    """A process that works in `folder`; with it ends whatever descends from it."""
    log = folder / "log"
    with log.open("wb") as output:
        child = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield faces.Process(child, log)
    finally:
        _stop(child)


def _free_port() -> int:
    """Below those that the kernel lends to clients: multi-model-server takes none above 49151."""
    while True:
        port = random.randrange(20_000, 32_000)  # noqa: S311 - any will do
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


def _stop(child: subprocess.Popen[bytes]) -> None:
    """Not every server takes its workers along, so all are told, and then made, to end."""
    family = {pid: start_ticks(pid) for pid in tree(child.pid)}
    for sent in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + STOP_SECONDS
        for pid, ticks in family.items():
            if ticks is not None and start_ticks(pid) == ticks:
                os.kill(pid, sent)
        while time.monotonic() < deadline:
            child.poll()
            if not any(ticks and start_ticks(pid) == ticks for pid, ticks in family.items()):
                return
            time.sleep(0.05)


def _wait(child: faces.Process, ready: Path, processes: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while len(list(ready.iterdir())) < processes:
        _still_there(child, deadline)


class _NotYet(Exception):
    """Some servers listen, and answer 404 or 5xx, before they serve the model."""


def _first_answer(child: faces.Process, target: Target, photo: bytes, check: Check) -> None:
    """Raises WrongAnswer at once for a 200 that is none."""

    def first(status: int, body: bytes) -> None:
        if status != 200:
            raise _NotYet
        check(status, body)

    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            drive(target, target.request(photo), first, 1, 0.01)
            return
        except (OSError, NoAnswer, _NotYet):
            _still_there(child, deadline)


def _still_there(child: faces.Process, deadline: float) -> None:
    try:
        child.check()
    except faces.FaceError as error:
        raise PeerError(f"{error}; {child.output[-1500:]}") from None
    if time.monotonic() > deadline:
        raise PeerError(f"not ready after {START_SECONDS} s: {child.output[-1500:]}")
    time.sleep(0.05)
