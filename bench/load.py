"""The HTTP side: a load generator that is lean enough to share the CPUs with what it measures.

One thread, a selector and raw sockets: each connection asks again as soon as it is answered. One
that is refused with 503 asks again when it was told to: a client that did not wait would measure
how fast a server refuses.
"""

import heapq
import selectors
import time
from collections.abc import Callable
from contextlib import ExitStack, closing

from bench.connection import SILENCE_SECONDS, Broken, Connection, Target
from bench.measured import Round, WrongAnswer, cpu_seconds, own_cpu_seconds, tree

REFUSED = 503
_WAIT_SECONDS = 1.0  # after a 503 that does not say how long, or a connection that broke

Check = Callable[[int, bytes], None]  # of status and body; raises WrongAnswer


class NoAnswer(WrongAnswer):
    """Silence, or nothing but refusals and connections that ended."""


class ClosedLoop:
    """`concurrency` connections, each with one request on its way or waiting after a refusal."""

    def __init__(
        self, target: Target, request: bytes, check: Check, concurrency: int, seconds: float
    ) -> None:
        self._target, self._request, self._check = target, request, check
        self._concurrency, self._seconds = concurrency, seconds
        self._waiting: list[tuple[float, int, Connection]] = []  # a heap, by when to ask again
        self._on_their_way = 0
        self.taken: list[float] = []  # seconds of each answer
        self.refused = self.broken = 0
        self.rate = 0.0  # answers a second, of those that came within `seconds`

    def run(self) -> None:
        """Raises WrongAnswer, OSError when a connection is refused, ValueError for a bad URL."""
        with ExitStack() as stack:
            self._selector = stack.enter_context(selectors.DefaultSelector())
            connections = [
                stack.enter_context(closing(Connection(self._target, self._selector)))
                for _ in range(self._concurrency)
            ]
            self._started = self._last = time.perf_counter()
            self._in_time = 0
            for connection in connections:
                self._send(connection)
            while self._on_their_way or (self._waiting and self._going_on()):
                self._step()
        if not self.taken:
            raise NoAnswer(f"no answer: {self.refused} refusals, {self.broken} broken connections")
        self.rate = self._in_time / (self._last - self._started)

    def _going_on(self) -> bool:
        return time.perf_counter() - self._started < self._seconds

    def _step(self) -> None:
        pause = float(SILENCE_SECONDS)
        if self._waiting:
            pause = max(0.0, self._waiting[0][0] - time.perf_counter())
        ready = self._selector.select(pause)
        if not ready and not self._waiting:
            raise NoAnswer(f"no answer came for {SILENCE_SECONDS} s")
        for key, _ in ready:
            self._receive(key.data)
        while self._waiting and self._waiting[0][0] <= time.perf_counter():
            connection = heapq.heappop(self._waiting)[2]
            if self._going_on():
                self._send(connection)

    def _send(self, connection: Connection) -> None:
        try:
            connection.send(self._request)
            self._on_their_way += 1
        except Broken:
            self.broken += 1
            self._pause(connection, "")

    def _receive(self, connection: Connection) -> None:
        try:
            reply = connection.receive()
        except Broken:
            self._on_their_way -= 1
            self.broken += 1
            self._pause(connection, "")
            return
        if reply is None:
            return
        self._on_their_way -= 1
        if reply.status == REFUSED:
            self.refused += 1
            self._pause(connection, reply.retry_after)
            return
        self._check(reply.status, reply.body)
        now = time.perf_counter()
        self.taken.append(now - connection.sent)
        if now - self._started < self._seconds or not self._in_time:
            self._in_time, self._last = len(self.taken), now
        if now - self._started < self._seconds:
            self._send(connection)

    def _pause(self, connection: Connection, retry_after: str) -> None:
        seconds = float(retry_after) if retry_after.isdigit() else _WAIT_SECONDS
        heapq.heappush(self._waiting, (time.perf_counter() + seconds, id(connection), connection))


def drive(
    target: Target,
    request: bytes,
    check: Check,
    concurrency: int,
    seconds: float,
    *,
    root: int | None = None,
) -> Round:
    """A round over new connections. The rate counts the answers within `seconds`.

    `root`: the process whose tree is the server, where it runs here, for its CPU time. Raises what
    `ClosedLoop.run` raises.
    """
    loop = ClosedLoop(target, request, check, concurrency, seconds)
    pids = tree(root) if root else []
    server, client, started = cpu_seconds(pids), own_cpu_seconds(), time.perf_counter()
    loop.run()
    client_cpus = (own_cpu_seconds() - client) / (time.perf_counter() - started)
    used = [after - server[pid] for pid, after in cpu_seconds(pids).items()]
    return Round.of(
        loop.rate,
        sum(used),
        loop.taken,
        client_cpus=client_cpus,
        busiest_worker=max(used, default=0.0) / (sum(used) or 1.0),
        refused=loop.refused,
        broken=loop.broken,
    )
