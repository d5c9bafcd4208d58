"""A server under test, and what it holds: memory, descriptors, threads, files."""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from bench.load import memory_mb, tree
from ops import local_servers
from ops.local_servers import HttpFace, HttpReply, Process, process_environment

HOST = "127.0.0.1"


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition. Raise TimeoutError after a minute."""
    deadline = time.monotonic() + local_servers.START_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the condition did not become true")
        time.sleep(0.05)


class Holding(NamedTuple):
    """The resources that all processes of a server hold together."""

    pss_mb: float  # proportional: shared pages count once
    descriptors: int
    threads: int
    files: int  # in the temporary folder


@dataclass(frozen=True)
class Server:
    """`entry.sh serve` as a process, with its own temporary folder."""

    port: int
    process: Process
    temporary: Path

    def workers(self) -> list[int]:
        """Return the processes that have a model: the children of gunicorn."""
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.process.pid).children()
            parents = [child for child in children if child.name() != "nginx"]
            return [worker.pid for parent in parents for worker in parent.children()]
        return []

    def wait_for_ready(self, times: int) -> None:
        """Wait until `times` workers have logged that they are ready. Raise as `wait_for` does."""
        self.wait_for('"message": "ready"', times)

    def wait_for(self, words: str, times: int) -> None:
        """Wait until the log has `words` so often. Raise TimeoutError, or FaceError at its end."""

        def is_logged() -> bool:
            self.process.check()
            return self.process.output.count(words) >= times

        until(is_logged)

    def log(self) -> list[dict[str, Any]]:
        """Return the log's records. Raise ValueError for a line that is not JSON."""
        return [json.loads(line) for line in self.process.output.splitlines()]

    @property
    def face(self) -> HttpFace:
        return HttpFace(f"http://{HOST}:{self.port}")

    def get(self, path: str) -> HttpReply:
        return self.face.send("GET", path, {})

    def post(self, body: bytes, content_type: str = "application/json", **more: str) -> HttpReply:
        headers = {"Content-Type": content_type, **more}
        return self.face.send("POST", "/invocations", headers, body)

    def holding(self) -> Holding:
        """Add up what the processes hold. One that ends meanwhile is not counted."""
        processes = tree(self.process.pid)
        pss_mb = round(sum(pss for _, pss in memory_mb(processes)), 1)
        descriptors = threads = 0
        for process in processes:
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                descriptors += process.num_fds()
                threads += process.num_threads()
        return Holding(pss_mb, descriptors, threads, len([*self.temporary.rglob("*")]))


def entry_with(inference: str, folder: Path) -> Path:
    """Copy `entry.sh` and the package, and replace inference.py, as a user's image does."""
    shutil.copytree(local_servers.ENTRY.parent / "serving", folder / "serving")
    (folder / "serving" / "inference.py").write_text(inference)
    return Path(shutil.copy(local_servers.ENTRY, folder))


@contextmanager
def starting(
    environment: Mapping[str, str],
    *,
    entry: Path = local_servers.ENTRY,
    arguments: Sequence[str] = (),
    prefix: Sequence[str] = (),
) -> Iterator[Server]:
    """Start a server, which may not be healthy yet. `prefix`: a command that runs it."""
    port = local_servers.free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [*prefix, str(entry), "serve", "--host", HOST, "--port", str(port), *arguments]
        settings = {**process_environment(), "WORKERS": "2", "TMPDIR": folder, **environment}
        with local_servers.running(command, settings) as process:
            yield Server(port, process, Path(settings["TMPDIR"]))


@contextmanager
def serving(environment: Mapping[str, str], **options: Any) -> Iterator[Server]:
    """Start a healthy server, with the options of `starting`. Raise FaceError."""
    with starting(environment, **options) as server:
        local_servers.wait_until_healthy(server.face, server.process)
        yield server
