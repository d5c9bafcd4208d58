"""The HTTP server as a process of its own, for tests that need its port and its life."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ops import faces
from ops.faces import HttpFace, Process
from ops.local import process_environment


@contextmanager
def serving(**environment: str) -> Iterator[tuple[int, Process]]:
    """Its port and the process, once it is healthy."""
    port = faces.free_port()
    command = [str(faces.ENTRY), "serve", "--host", "127.0.0.1", "--port", str(port)]
    with faces.running(command, {**process_environment(), "WORKERS": "2", **environment}) as server:
        faces.wait_until_healthy(HttpFace(f"http://127.0.0.1:{port}"), server)
        yield port, server


def workers_of(server: Process) -> list[int]:
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    return [int(child) for child in children]


def worker_of(server: Process) -> int:
    return workers_of(server)[0]
