"""The HTTP side: a load generator that is lean enough to share the CPUs with what it measures.

One thread, a selector and raw sockets: each connection asks again as soon as it is answered.
"""

import re
import selectors
import socket
import time
from contextlib import ExitStack, closing

from bench.measured import Round, WrongAnswer, check, own_cpu_seconds, server_cpu_seconds

SILENCE_SECONDS = 30
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Connection:
    """A connection that is kept alive and has one request on its way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)  # no send may block
        self._received = bytearray()

    def send(self, request: bytes) -> None:
        self.sent = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> tuple[int, bytes] | None:
        """Status and body, once all of it is here. Raises WrongAnswer."""
        data = self.socket.recv(65536)
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = _CONTENT_LENGTH.search(head)
        if not data or (end and not length):
            raise WrongAnswer(f"cut off, or of no length: {bytes(self._received[:200])!r}")
        if not end or not length or len(body) < int(length[1]):
            return None
        self._received.clear()
        return int(head[9:12]), bytes(body)


def http_request(photo: bytes) -> bytes:
    head = f"Host: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: {len(photo)}\r\n\r\n"
    return b"POST /invocations HTTP/1.1\r\n" + head.encode() + photo


def drive(port: int, request: bytes, expected: bytes, concurrency: int, seconds: float) -> Round:
    """A round over new connections. The rate counts the answers within `seconds`.

    Raises WrongAnswer.
    """
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        connections = [Connection(port) for _ in range(concurrency)]
        for connection in connections:
            stack.enter_context(closing(connection.socket))
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        taken: list[float] = []
        in_time, waiting = 0, concurrency
        server, client = server_cpu_seconds(port), own_cpu_seconds()
        started = last = time.perf_counter()
        for connection in connections:
            connection.send(request)
        while waiting:
            ready = selector.select(SILENCE_SECONDS)
            if not ready:
                raise WrongAnswer(f"no answer came for {SILENCE_SECONDS} s")
            for key, _ in ready:
                answer: tuple[int, bytes] | None = key.data.receive()
                if answer is None:
                    continue
                check(*answer, expected)
                now = time.perf_counter()
                taken.append(now - key.data.sent)
                if now - started < seconds:
                    in_time, last = len(taken), now
                    key.data.send(request)
                else:
                    waiting -= 1
        client_cpus = (own_cpu_seconds() - client) / (time.perf_counter() - started)
        used = [after - server.get(pid, 0.0) for pid, after in server_cpu_seconds(port).items()]
    return Round.of(
        in_time / (last - started),
        sum(used),
        taken,
        client_cpus=client_cpus,
        busiest_worker=max(used, default=0.0) / (sum(used) or 1.0),
    )
