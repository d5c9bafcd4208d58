"""Enforce a time limit independently of peers and libraries."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import TypeVar

from serving.core.errors import without_locals

CONNECT_SECONDS = 3.0
# More calls than the default settings allow at once, so only abandoned, still-blocked calls can
# exhaust the slots of `run_with_timeout`.
MAX_CALLS = 64

Result = TypeVar("Result")


def run_with_timeout(
    call: Callable[[], Result], seconds: float, slots: threading.BoundedSemaphore
) -> Result:
    """Return the result of `call`. Raises its exception, or TimeoutError after `seconds`.

    The time includes the wait for one of the `slots`. An abandoned call keeps its daemon thread and
    its slot until it ends, so the caller must end what it waits for.
    """
    deadline = time.monotonic() + seconds
    if not slots.acquire(timeout=seconds):
        raise TimeoutError
    future: Future[Result] = Future()

    def run(future: Future[Result]) -> None:
        try:
            future.set_result(call())
        except Exception as error:
            future.set_exception(without_locals(error))
        finally:
            slots.release()
            del future  # frames in the traceback of its exception refer to this one

    try:
        threading.Thread(target=copy_context().run, args=(run, future), daemon=True).start()
    except RuntimeError:  # the machine allows no more threads
        slots.release()
        raise
    try:
        return future.result(max(0, deadline - time.monotonic()))
    finally:
        del future
