"""Tiny local servers that answer a benchmark's requests with the bytes that a test gives."""

import re
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

# Of a request's number and all of it. None closes the connection, (reply, None) does so afterwards.
Script = Callable[[int, bytes], bytes | tuple[bytes, None] | None]


@contextmanager
def _serving(script: Script) -> Iterator[str]:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while head := self._head():
                length = re.search(rb"(?i)^content-length: *(\d+)", head, re.MULTILINE)
                if not length:
                    return
                body = self.rfile.read(int(length[1]))
                with lock:
                    number = next(numbers)
                reply = script(number, head + body)
                self.wfile.write((reply[0] if isinstance(reply, tuple) else reply) or b"")
                if not isinstance(reply, bytes):
                    return

        def _head(self) -> bytes:
            lines = []
            while line := self.rfile.readline():
                lines.append(line)
                if line == b"\r\n":
                    return b"".join(lines)
            return b""

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that has seen enough hangs up."""

    numbers, lock = iter(range(10**9)), threading.Lock()
    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/invocations"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def serve() -> Iterator[Callable[[Script], str]]:
    """Starts a server for a script; its URL."""
    with ExitStack() as stack:
        yield lambda script: stack.enter_context(_serving(script))
