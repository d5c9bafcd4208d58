"""A worker's death and the server's end, in the middle of far too much load."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from soak.kills import kill
from soak.load import Load, beside
from soak.overload import under_test
from soak.server import Server
from soak.tally import Tally

PER_SECOND = 1000.0  # several times what two cores can take
KILLS = 4


@asynccontextmanager
async def overloaded(requests: Tally, others: Tally) -> AsyncIterator[Server]:
    """A server of two workers under load until the end of the block, and idle after it.

    `others`: what pingers and slow clients meet.
    """
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


def test_a_killed_worker_takes_only_its_own_requests_with_it() -> None:
    tally = Tally()

    async def run() -> None:
        async with overloaded(tally, tally) as server:
            for number in range(KILLS):
                tally.dead |= kill(server.workers()[number % 2])
                await asyncio.to_thread(server.wait_for_ready, 3 + number)
                await asyncio.sleep(2)
            assert len(server.workers()) == 2
            assert (await asyncio.to_thread(server.get, "/ping")).status == 200

    asyncio.run(run())
    assert tally.wrong == []
    assert 0 < tally.excused <= len(tally.dead)
    assert tally.served.total() > 100


def test_sigterm_under_overload_loses_no_request() -> None:
    """Nor do slow clients, silent or endless, hold up the end."""
    tally = Tally()

    async def run() -> tuple[int, float]:
        async with overloaded(tally, Tally()) as server:
            started = asyncio.get_running_loop().time()
            status = await asyncio.to_thread(server.process.stop)
            return status, asyncio.get_running_loop().time() - started

    status, seconds = asyncio.run(run())
    assert (status, tally.wrong) == (0, [])
    assert seconds < 30  # when SageMaker kills
    assert tally.served.total() > 100
