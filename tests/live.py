"""The HTTP server as a process of its own, for tests that need its port and its life."""

from collections.abc import Iterator
from contextlib import contextmanager

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
