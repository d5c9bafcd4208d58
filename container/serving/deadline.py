"""A fetch ends when its time is over, whatever the other side and the libraries do."""

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from typing import TypeVar

from serving.errors import UriFetchFailed

Result = TypeVar("Result")


class CutOff:
    """The end of one fetch, to be entered when it begins.

    Timeouts of a socket start anew with every byte, so the connection is shut down from outside.
    """

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._watched: list[socket.socket] = []
        self._over = False
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> "CutOff":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        for connection in self._watched:
            connection.close()

    def watch(self, connection: socket.socket) -> None:
        """Have the connection cut at the deadline. Raises TimeoutError if that has passed."""
        with self._lock:
            self._watched.append(connection.dup())  # TLS takes the connection itself over
            if self._over:
                raise TimeoutError

    @property
    def remaining_seconds(self) -> float:
        """At least a moment: 0 would be a socket that does not wait."""
        return max(0.001, self._deadline - time.monotonic())

    def check(self, host: str) -> None:
        """Raises UriFetchFailed if the time is over."""
        if time.monotonic() >= self._deadline:
            raise UriFetchFailed(f"{host} did not answer in time")

    def _cut(self) -> None:
        with self._lock:
            self._over = True
            for connection in self._watched:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class Aside:
    """Calls what takes no deadline in threads of their own, at most `places` of them at a time.

    A call that is given up goes on in its thread and keeps its place until it ends by itself. The
    threads are daemons, so none holds the process back.
    """

    def __init__(self, places: int) -> None:
        self._places = threading.BoundedSemaphore(places)

    def __call__(self, seconds: float, call: Callable[[], Result]) -> Result:
        """What `call` returns or raises. Raises TimeoutError if that, or a place, takes longer."""
        deadline = time.monotonic() + seconds
        if not self._places.acquire(timeout=seconds):
            raise TimeoutError
        future: Future[Result] = Future()

        def run() -> None:
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)
            finally:
                self._places.release()

        try:
            threading.Thread(target=copy_context().run, args=(run,), daemon=True).start()
        except RuntimeError:  # no more threads on this machine
            self._places.release()
            raise
        return future.result(max(0, deadline - time.monotonic()))
