"""Enforce time limits independently of peers and libraries."""

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from typing import TypeVar

from serving.core.errors import UriFetchFailed

CONNECT_SECONDS = 3.0
# More calls than the default settings allow at once, so only abandoned, still-blocked calls can
# exhaust the slots of `run_with_timeout`.
MAX_CALLS = 64

Result = TypeVar("Result")


class Deadline:
    """Shuts down a fetch's connections when it passes. Every byte restarts a socket's timeout."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds
        self._watched: list[socket.socket] = []
        self._passed = False
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._shut_down)
        self._timer.daemon = True

    def __enter__(self) -> "Deadline":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        for connection in self._watched:
            connection.close()

    def watch(self, connection: socket.socket) -> None:
        """Shut the connection down at the deadline. Raises TimeoutError if it has passed."""
        with self._lock:
            self._watched.append(connection.dup())  # TLS takes over the connection itself
            if self._passed:
                raise TimeoutError

    @property
    def remaining_seconds(self) -> float:
        """Return the time left, but never 0, with which a socket would not block at all."""
        return max(0.001, self._at - time.monotonic())

    def check(self, host: str) -> None:
        """Raise UriFetchFailed if the deadline has passed."""
        if time.monotonic() >= self._at:
            raise UriFetchFailed(f"{host} did not answer in time")

    def _shut_down(self) -> None:
        with self._lock:
            self._passed = True
            for connection in self._watched:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


def run_with_timeout(
    call: Callable[[], Result], seconds: float, slots: threading.BoundedSemaphore
) -> Result:
    """Return the result of `call`. Raises its exception, or TimeoutError after `seconds`.

    The time includes the wait for one of the `slots`. An abandoned call keeps its daemon thread and
    its slot until it ends.
    """
    deadline = time.monotonic() + seconds
    if not slots.acquire(timeout=seconds):
        raise TimeoutError
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)
        finally:
            slots.release()

    try:
        threading.Thread(target=copy_context().run, args=(run,), daemon=True).start()
    except RuntimeError:  # the machine allows no more threads
        slots.release()
        raise
    return future.result(max(0, deadline - time.monotonic()))
