"""Clients that send single bytes to a server."""

import json
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPResponse
from pathlib import Path
from statistics import median

from ops.local_servers import ENTRY
from soak.server import HOST, Server
from support.cases import PHOTOS

PHOTO = (PHOTOS / "cat.jpg").read_bytes()
HEAD = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
SECONDS = 60  # how long a peer waits for an answer
PING_SECONDS = 2  # SageMaker's own limit


def entry_with(inference: str, folder: Path) -> Path:
    """Copy `entry.sh` and the package, and replace inference.py, as a user's image does."""
    shutil.copytree(ENTRY.parent / "serving", folder / "serving")
    (folder / "serving" / "inference.py").write_text(inference)
    return Path(shutil.copy(ENTRY, folder))


@contextmanager
def connections(server: Server, count: int = 1) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        opened = (socket.create_connection((HOST, server.port), SECONDS) for _ in range(count))
        yield [stack.enter_context(peer) for peer in opened]


@contextmanager
def trickling(connected: list[socket.socket], more: bytes) -> Iterator[None]:
    """Send `more` on each connection every half second during the block."""
    stop = threading.Event()

    def trickle() -> None:
        while not stop.wait(0.5):
            for peer in connected:
                with suppress(OSError):
                    peer.send(more, socket.MSG_DONTWAIT)

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def answer(peer: socket.socket) -> tuple[HTTPResponse, bytes]:
    response = HTTPResponse(peer)
    response.begin()
    return response, response.read()


def code(body: bytes) -> str:
    return str(json.loads(body)["error"]["code"])


def serves(server: Server) -> None:
    """Assert that the server answers a picture, and pings within SageMaker's limit."""
    assert server.post(PHOTO, "image/jpeg").status == 200
    pings = [server.get("/ping") for _ in range(5)]
    assert [ping.status for ping in pings] == [200] * 5
    # One may be late because other tests use the CPUs.
    assert median(ping.seconds for ping in pings) < PING_SECONDS
