"""Prepare the pictures of a batch at once, so that their waits for a network do not add up."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextvars import copy_context
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

# Jobs of one batch that are not yet consumed: enough to keep a core that infers in 6 ms busy where
# a response takes 50 ms.
DEPTH = 8
PLACES = 16  # jobs of all batches together: the limit of their memory

Result = TypeVar("Result")
# The job's number, and a function that returns its result or raises its exception.
Outcome = tuple[int, Callable[[], Result]]


class Prefetcher:
    """Runs several jobs at once, in at most PLACES threads of a process. Threads may share one.

    A batch that finds no free place runs its jobs itself, one by one, so that no job waits for
    another batch's slow host.
    """

    def __init__(self) -> None:
        self._places = threading.BoundedSemaphore(PLACES)

    def __call__(self, jobs: Sequence[Callable[[], Result]]) -> Iterator[Outcome[Result]]:
        """Yield each job's outcome as soon as it has ended.

        A job sees the caller's context variables, such as the request id of log records.
        """
        # Imported here, as is the pool below: it would be 1 % of a cold start.
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
        finally:  # if the caller stopped early, the places are free when their jobs have ended
            for future in running:
                future.add_done_callback(lambda _: self._places.release())

    @cached_property
    def _threads(self) -> "ThreadPoolExecutor":
        from concurrent.futures import ThreadPoolExecutor

        return ThreadPoolExecutor(PLACES, thread_name_prefix="prefetch")
