"""A server of our own to be ill-treated, and what it holds: memory, descriptors, threads, files."""

import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bench.measured import memory_mb, tree
from live import workers_of
from ops import faces
from ops.faces import HttpFace, Process, Reply
from ops.local import process_environment

HOST = "127.0.0.1"


class Holding(NamedTuple):
    """What all processes of a server hold together."""

    pss_mb: float  # proportional: what they share counts once
    descriptors: int
    threads: int
    files: int  # in the temporary folder


@dataclass(frozen=True)
class Server:
    """`entry.sh serve` as a process, with a temporary folder that is its own."""

    port: int
    process: Process
    temporary: Path

    def workers(self) -> list[int]:
        return workers_of(self.process)

    def wait_for_ready(self, times: int) -> None:
        """Until so many workers have said that they have the model. Raises as `wait_for`."""
        self.wait_for('"message": "ready"', times)

    def wait_for(self, words: str, times: int) -> None:
        """Until the log has them so often. Raises TimeoutError after a minute, FaceError."""
        deadline = time.monotonic() + faces.START_SECONDS
        while self.process.output.count(words) < times:
            self.process.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{words} not {times} times: {self.process.output[-500:]}")
            time.sleep(0.1)

    def log(self) -> list[dict[str, Any]]:
        """Its records. Raises ValueError for a line that is none."""
        return [json.loads(line) for line in self.process.output.splitlines()]

    def get(self, path: str) -> Reply:
        return HttpFace(f"http://{HOST}:{self.port}").send("GET", path, {})

    def post(self, body: bytes, content_type: str = "application/json", **headers: str) -> Reply:
        face = HttpFace(f"http://{HOST}:{self.port}")
        named = {"Content-Type": content_type, **headers}
        return face.send("POST", "/invocations", named, body)

    def holding(self) -> Holding:
        """Of the processes that are there; one that ends meanwhile counts for nothing."""
        pids = tree(self.process.pid)
        return Holding(
            round(sum(pss for _, pss in memory_mb(pids).values()), 1),
            sum(_count(Path(f"/proc/{pid}/fd")) for pid in pids),
            sum(_count(Path(f"/proc/{pid}/task")) for pid in pids),
            sum(1 for _ in self.temporary.rglob("*")),
        )


def _count(folder: Path) -> int:
    try:
        return sum(1 for _ in folder.iterdir())
    except OSError:
        return 0


@contextmanager
def serving(
    environment: Mapping[str, str],
    *,
    entry: Path = faces.ENTRY,
    arguments: Sequence[str] = (),
    prefix: Sequence[str] = (),
) -> Iterator[Server]:
    """A server that is healthy. `prefix`: a command that runs it, such as prlimit with its options.

    Raises FaceError.
    """
    port = faces.free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [*prefix, str(entry), "serve", "--host", HOST, "--port", str(port), *arguments]
        settings = {**process_environment(), "WORKERS": "2", "TMPDIR": folder, **environment}
        with faces.running(command, settings) as process:
            faces.wait_until_healthy(HttpFace(f"http://{HOST}:{port}"), process)
            yield Server(port, process, Path(settings["TMPDIR"]))
