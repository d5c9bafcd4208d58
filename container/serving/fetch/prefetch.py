"""Prepare the pictures of a batch concurrently, so that their network delays do not add up."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextvars import copy_context
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

# The limit of unconsumed jobs in a batch. Eight keep a core busy if inference takes 6 ms and a
# response 50 ms.
DEPTH = 8
PLACES = 16  # the limit for all batches together, which bounds their memory

Result = TypeVar("Result")
# The job's number, and a function that returns its result or raises its exception.
Outcome = tuple[int, Callable[[], Result]]


class Prefetcher:
    """Runs jobs concurrently, in at most PLACES threads of a process. Threads may share it.

    A batch without a free place runs its jobs in its own thread, one by one, so that it does not
    wait for another batch's slow host.
    """

    def __init__(self) -> None:
        self._places = threading.BoundedSemaphore(PLACES)

    def __call__(self, jobs: Sequence[Callable[[], Result]]) -> Iterator[Outcome[Result]]:
        """Yield each job's outcome as soon as it has ended. Jobs run in copies of the context."""
        # Importing this and the pool at the top would take 1 % of a cold start.
        from queue import SimpleQueue

        waiting = deque(enumerate(jobs))
        running: dict[Future[Result], int] = {}
        ended: SimpleQueue[Future[Result]] = SimpleQueue()

        def start() -> None:
            while waiting and len(running) < DEPTH and self._places.acquire(blocking=False):
                number, job = waiting.popleft()
                future = self._threads.submit(copy_context().run, job)
                running[future] = number
                future.add_done_callback(ended.put)

        try:
            start()
            while waiting or running:
                if running:
                    future = ended.get()
                    number = running.pop(future)
                    self._places.release()
                    outcome: Outcome[Result] = (number, future.result)
                else:
                    outcome = waiting.popleft()
                start()  # before the caller is busy with this outcome
                yield outcome
        finally:  # if the caller stops early, each running job frees its place when it ends
            for future in running:
                future.add_done_callback(lambda _: self._places.release())

    @cached_property
    def _threads(self) -> "ThreadPoolExecutor":
        from concurrent.futures import ThreadPoolExecutor

        return ThreadPoolExecutor(PLACES, thread_name_prefix="prefetch")
