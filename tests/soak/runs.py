"""The runs: a load far beyond capacity, and a search for leaks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from soak.load import DESCRIPTORS, Load, beside, capacity
from soak.server import HOST, Holding, Server, serving
from soak.tally import MEMORY_MB, Tally
from soak.traffic import Kind, kinds, learn
from support.upstream import upstream

FETCH_TIMEOUT_SECONDS = 2
_SETTLE_SECONDS = 3.0
_LANES = 32
_BURST = 300  # clients at once, which start every thread before the first measurement
# What 50,000 requests may leave: large bodies fragment a heap, a pool starts a thread when it first
# needs it, and S3's client keeps connections.
_LEFT = Holding(pss_mb=40.0, descriptors=8, threads=16, files=0)


class Run(NamedTuple):
    figures: dict[str, Any]
    problems: list[str]


@asynccontextmanager
async def under_test(log_level: str = "WARNING") -> AsyncIterator[tuple[Server, list[Kind]]]:
    """Start a server of two workers; learn the traffic's right answers while it is idle.

    By default it does not log requests, which would take a gigabyte in half an hour of overload.
    """
    with TemporaryDirectory() as folder, upstream(HOST, Path(folder)) as good:
        settings = {"FETCH_TIMEOUT_SECONDS": str(FETCH_TIMEOUT_SECONDS), "LOG_LEVEL": log_level}
        with serving({**good.environment, **settings}) as server:
            yield server, await learn(kinds(good.places), server.port, good.places)


async def overload(seconds: float, times: float, *, memory_mb: float = MEMORY_MB) -> Run:
    """Send `times` the server's capacity, beside pings and slow clients.

    The server may grow by `memory_mb` between the second and the last quarter.
    """
    async with under_test() as (server, learnt):
        per_second = await capacity(server, learnt[0])
        await asyncio.sleep(_SETTLE_SECONDS)
        before = await asyncio.to_thread(server.holding)
        tally = Tally()
        load = Load(server, learnt, tally)
        telling = asyncio.create_task(_tell_each_minute(tally))
        async with beside(server, learnt[0], tally):
            await load.arrive(per_second * times, seconds)
            await load.finish()
        telling.cancel()
        await asyncio.sleep(_SETTLE_SECONDS)
        after = await asyncio.to_thread(server.holding)
        log = server.process.output
    allowed = _LEFT._replace(pss_mb=1e9, threads=10**9)  # threads and memory of a burst stay
    problems = tally.problems(DESCRIPTORS, memory_mb) + _grown(before, after, allowed)
    if "Traceback" in log:
        problems.append(f"a traceback is in the log: {log[-2000:]}")
    figures = {
        "seconds": seconds,
        "capacity_per_second": round(per_second, 1),
        "offered_per_second": round(per_second * times, 1),
        **tally.as_json(),
        "idle_before": before._asdict(),
        "idle_after": after._asdict(),
    }
    return Run(figures, problems)


async def leaks(requests: int, warm_up: int) -> Run:
    async with under_test() as (server, learnt):
        tally = Tally()
        load = Load(server, learnt, tally)
        await load.closed_loop(_BURST, _BURST)
        holdings = []
        for number in (warm_up - _BURST, requests):
            await load.closed_loop(number, _LANES)
            load.close()
            await asyncio.sleep(_SETTLE_SECONDS)
            holdings.append(await asyncio.to_thread(server.holding))
    before, after = holdings
    figures = {"requests": requests, "before": before._asdict(), "after": after._asdict()}
    return Run(figures, tally.wrong + _grown(before, after, _LEFT))


def _grown(before: Holding, after: Holding, allowed: Holding) -> list[str]:
    return [
        f"{first} {name} have become {last}"
        for name, first, last, more in zip(Holding._fields, before, after, allowed, strict=True)
        if last > first + more
    ]


async def _tell_each_minute(tally: Tally) -> None:
    while True:
        await asyncio.sleep(60)
        ping = f"worst ping {tally.worst_ping:.2f} s"
        print(f"{dict(tally.ended)}; {ping}; {tally.holdings[-1]}", flush=True)
