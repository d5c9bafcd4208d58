"""A server of our own to be ill-treated, and what it holds: memory, descriptors, threads, files."""

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import urllib3

from bench.load import memory_mb, tree
from ops import local_servers
from ops.local_servers import HttpFace, HttpReply, Process, process_environment

HOST = "127.0.0.1"


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition. Raises TimeoutError after a minute."""
    deadline = time.monotonic() + local_servers.START_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not come to that")
        time.sleep(0.05)


class Holding(NamedTuple):
    """The resources that all processes of a server hold together."""

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
        """Return the processes that have a model: children of gunicorn, a child beside nginx."""
        with suppress(psutil.NoSuchProcess):
            beside = psutil.Process(self.process.pid).children()
            parents = [child for child in beside if child.name() != "nginx"]
            return [worker.pid for parent in parents for worker in parent.children()]
        return []

    @property
    def has_ended(self) -> bool:
        try:
            self.process.check()
        except local_servers.FaceError:
            return True
        return False

    def wait_for_ready(self, times: int) -> None:
        """Wait until so many workers have said that they have the model. Raises as `wait_for`."""
        self.wait_for('"message": "ready"', times)

    def wait_for(self, words: str, times: int) -> None:
        """Wait until the log has them so often. Raises TimeoutError, FaceError if it ends."""

        def is_logged() -> bool:
            self.process.check()
            return self.process.output.count(words) >= times

        until(is_logged)

    def log(self) -> list[dict[str, Any]]:
        """Its records. Raises ValueError for a line that is none."""
        return [json.loads(line) for line in self.process.output.splitlines()]

    @property
    def face(self) -> HttpFace:
        return HttpFace(f"http://{HOST}:{self.port}")

    def get(self, path: str) -> HttpReply:
        return self.face.send("GET", path, {})

    def ping(self) -> int | None:
        """Return the status of a ping, or None while nothing listens."""
        try:
            return self.get("/ping").status
        except urllib3.exceptions.HTTPError:
            return None

    def post(
        self, body: bytes, content_type: str = "application/json", **headers: str
    ) -> HttpReply:
        named = {"Content-Type": content_type, **headers}
        return self.face.send("POST", "/invocations", named, body)

    def holding(self) -> Holding:
        """Look at the processes that are there; one that ends meanwhile counts for nothing."""
        processes = tree(self.process.pid)
        descriptors = threads = 0
        for process in processes:
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                descriptors += process.num_fds()
                threads += process.num_threads()
        return Holding(
            round(sum(pss for _, pss in memory_mb(processes)), 1),
            descriptors,
            threads,
            sum(1 for _ in self.temporary.rglob("*")),
        )


@contextmanager
def starting(
    environment: Mapping[str, str],
    *,
    entry: Path = local_servers.ENTRY,
    arguments: Sequence[str] = (),
    prefix: Sequence[str] = (),
) -> Iterator[Server]:
    """A server that may not be healthy yet.

    `prefix`: a command that runs it, such as prlimit with its options.
    """
    port = local_servers.free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [*prefix, str(entry), "serve", "--host", HOST, "--port", str(port), *arguments]
        settings = {**process_environment(), "WORKERS": "2", "TMPDIR": folder, **environment}
        with local_servers.running(command, settings) as process:
            yield Server(port, process, Path(settings["TMPDIR"]))


@contextmanager
def serving(environment: Mapping[str, str], **options: Any) -> Iterator[Server]:
    """A healthy server. `options` are those of `starting`. Raises FaceError."""
    with starting(environment, **options) as server:
        local_servers.wait_until_healthy(server.face, server.process)
        yield server
