"""Short forms of `python -m soak`; a worker is killed and the server stopped under overload."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from soak.load import Load, beside
from soak.runs import leaks, overload, under_test
from soak.server import Server
from soak.tally import Tally

PER_SECOND = 1000.0  # several times the capacity of two cores
REQUESTS_OF_A_WORKER = 40  # 32 that wait for the model, and 8 that are being refused
KILLS = 4
# An overloaded server fills its heaps and threads' stacks within a minute; then they stay.
FILLING_MB = 200


def test_ten_times_the_load_is_answered_correctly_or_refused_and_pings_continue() -> None:
    """Memory, descriptors and temporary files do not grow, and the log has no fault."""
    run = asyncio.run(overload(20, 10, memory_mb=FILLING_MB))
    assert run.problems == []
    assert run.figures["refused"] > 0


def test_requests_leave_nothing_behind() -> None:
    assert asyncio.run(leaks(requests=2000, warm_up=1000)).problems == []


@asynccontextmanager
async def overloaded(requests: Tally, others: Tally) -> AsyncIterator[Server]:
    """Load a server of two workers until the block ends. Pings and slow clients use `others`."""
    async with under_test("INFO") as (server, learnt):
        await asyncio.to_thread(server.wait_for_ready, 2)
        load = Load(server, learnt, requests)
        async with beside(server, learnt[0], others):
            arriving = asyncio.create_task(load.arrive(PER_SECOND, 3600))
            await asyncio.sleep(3)
            try:
                yield server
            finally:
                arriving.cancel()
                await load.finish()


def test_a_killed_worker_fails_only_its_own_requests() -> None:
    """They get 503, or a cut-off answer if the worker had begun to send it."""
    tally = Tally()

    async def run() -> None:
        async with overloaded(tally, tally) as server:
            for number in range(KILLS):
                os.kill(server.workers()[number % 2], signal.SIGKILL)
                await asyncio.to_thread(server.wait_for_ready, 3 + number)
                await asyncio.sleep(2)
            assert len(server.workers()) == 2
            assert (await asyncio.to_thread(server.get, "/ping")).status == 200

    asyncio.run(run())
    cut_off = [answer for answer in tally.wrong if "IncompleteReadError" in answer]
    assert tally.wrong == cut_off
    assert len(cut_off) <= KILLS * REQUESTS_OF_A_WORKER
    assert tally.ended["served"] > 100


def test_sigterm_under_overload_loses_no_accepted_request() -> None:
    """Silent and endless clients do not delay the end."""
    tally = Tally()

    async def run() -> int:
        async with overloaded(tally, Tally()) as server:
            return await asyncio.to_thread(server.process.stop)  # in the time that SageMaker gives

    assert asyncio.run(run()) == 0
    # When nginx stops listening, Linux resets the connections that nginx has not accepted yet.
    not_accepted = [answer for answer in tally.wrong if "ConnectionResetError" in answer]
    assert tally.wrong == not_accepted
    assert len(not_accepted) < PER_SECOND / 10  # all 360 clients wait for an answer
    assert tally.ended["served"] > 100
