"""The pictures of a batch, got ahead of their turn: waits for a network would add up otherwise."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextvars import copy_context
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

# Jobs of one batch that are under way or done and not yet taken: a core that infers in 6 ms is kept
# busy by that many where an answer takes 50 ms.
DEPTH = 8
# Of all batches together. Each may hold a body or a decoded input, so it is this, and not how many
# requests wait, that bounds their memory.
PLACES = 16

Result = TypeVar("Result")
# Of a job's number, and a function that returns its result or raises what it raised.
Outcome = tuple[int, Callable[[], Result]]


class Ahead:
    """Does several jobs at once; safe to share between threads, and one is enough for a process.

    The threads are the process's: a pool for each batch would be 256 with 32 that wait. A thread is
    free for every place, so no job queues behind a stranger's upstream; a batch that gets no place
    does its jobs itself, one by one, which is what it would do without this. Threads start with the
    first batch, idle between batches, and end with the process: a worker that drains or a function
    that is frozen has none at work, for a batch is answered when all its jobs are taken.
    """

    def __init__(self) -> None:
        self._places = threading.BoundedSemaphore(PLACES)

    def __call__(self, jobs: Sequence[Callable[[], Result]]) -> Iterator[Outcome[Result]]:
        """Each job's outcome, as it is there: one that hangs keeps none of the others back.

        A job sees the caller's context variables, such as the request id of log records.
        """
        # As the pool below: its import would be 1 % of a cold start.
        from queue import SimpleQueue

        waiting = deque(enumerate(jobs))
        under_way: dict[Future[Result], int] = {}
        ended: SimpleQueue[Future[Result]] = SimpleQueue()

        def start() -> None:
            while waiting and len(under_way) < DEPTH and self._places.acquire(blocking=False):
                number, job = waiting.popleft()
                future = self._threads.submit(copy_context().run, job)
                under_way[future] = number
                future.add_done_callback(ended.put)

        try:
            start()
            while waiting or under_way:
                if under_way:
                    future = ended.get()
                    number = under_way.pop(future)
                    self._places.release()
                    outcome: Outcome[Result] = (number, future.result)
                else:
                    outcome = waiting.popleft()
                start()  # before the caller is busy with this one
                yield outcome
        finally:  # of a caller that went away: its places are free when their jobs have ended
            for future in under_way:
                future.add_done_callback(lambda _: self._places.release())

    @cached_property
    def _threads(self) -> "ThreadPoolExecutor":
        from concurrent.futures import ThreadPoolExecutor

        return ThreadPoolExecutor(PLACES, thread_name_prefix="ahead")
