"""Send requests at a rate that ignores the answers, beside pings and slow clients."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import urllib3

from soak.client import Broken, IdleClosed, Lane, Unopened
from soak.server import HOST, Server
from soak.slow import CLIENTS, keep_on
from soak.tally import Tally
from soak.traffic import Kind, Wrong

LANES = 360
SLOW_OF_EACH = 5  # of eight kinds: 40 more connections
# The most that a server may hold: two of nginx, a file for the body and one of a worker per client.
DESCRIPTORS = 4 * (LANES + SLOW_OF_EACH * len(CLIENTS))
_CALIBRATION_REQUESTS = 400
_TICK_SECONDS = 0.005
_PING_EVERY_SECONDS = 0.5
_FRESH = 0.3  # the share of requests on a new connection


class Load:
    """Send requests in the kinds' proportions by `LANES` clients, and count how they end."""

    def __init__(self, server: Server, kinds: Sequence[Kind], tally: Tally) -> None:
        self._kinds, self.tally = kinds, tally
        self._random = random.Random(5)  # noqa: S311 - the same traffic in every run
        self._lanes = [Lane(HOST, server.port) for _ in range(LANES)]
        self._idle = list(self._lanes)
        self._under_way: set[asyncio.Task[None]] = set()

    async def arrive(self, per_second: float, seconds: float) -> None:
        """Send at a rate, whatever comes back. A request without a free lane is not sent."""
        started = asyncio.get_running_loop().time()
        arrived = 0
        while (elapsed := asyncio.get_running_loop().time() - started) < seconds:
            due = int(elapsed * per_second) - arrived
            arrived += due
            for kind in self._drawn(min(due, len(self._idle))):
                task = asyncio.create_task(self._take_a_lane(kind))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
                due -= 1
            self.tally.unsent += due
            await asyncio.sleep(_TICK_SECONDS)

    async def closed_loop(self, requests: int, lanes: int) -> None:
        """Send `requests`, by clients that send the next one after each answer."""

        async def client(lane: Lane) -> None:
            for kind in self._drawn(requests // lanes):
                await self._ask(lane, kind)

        await asyncio.gather(*(client(lane) for lane in self._lanes[:lanes]))

    async def finish(self) -> None:
        """Wait for requests in progress, and close the connections."""
        while self._under_way:
            await asyncio.wait(self._under_way)
        self.close()

    def close(self) -> None:
        for lane in self._lanes:
            lane.close()

    def _drawn(self, number: int) -> list[Kind]:
        shares = [kind.share for kind in self._kinds]
        return self._random.choices(self._kinds, shares, k=number) if number else []

    async def _take_a_lane(self, kind: Kind) -> None:
        lane = self._idle.pop()
        try:
            await self._ask(lane, kind)
        finally:
            self._idle.append(lane)

    async def _ask(self, lane: Lane, kind: Kind) -> None:
        started = time.perf_counter()
        try:
            answer = await lane.ask(kind.message, fresh=self._random.random() < _FRESH)
            self.tally.count(kind.outcome(answer), time.perf_counter() - started)
        except Unopened:
            self.tally.ended["unopened"] += 1
        except IdleClosed:
            self.tally.ended["idle_closed"] += 1
        except (Wrong, Broken) as error:
            self.tally.blame(f"{kind.name}: {error}")


async def capacity(server: Server, picture: Kind) -> float:
    """Return the pictures per second of 16 clients that send the next one after each answer."""
    tally = Tally()
    started = time.perf_counter()
    load = Load(server, [picture], tally)
    await load.closed_loop(_CALIBRATION_REQUESTS, 16)
    load.close()
    assert tally.ended["served"] == tally.ended.total()
    return tally.ended["served"] / (time.perf_counter() - started)


@asynccontextmanager
async def beside(server: Server, picture: Kind, tally: Tally) -> AsyncIterator[None]:
    """Run pings and slow clients, and record every second what the server holds."""
    slow = [keep_on(name, server.port, picture, tally) for name in SLOW_OF_EACH * [*CLIENTS]]
    jobs = (_ping(server, tally), _look(server, tally), *slow)
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if not isinstance(error, asyncio.CancelledError):
            raise AssertionError(f"a client of the harness ended: {error!r}")


async def _ping(server: Server, tally: Tally) -> None:
    """Ping every half second, in a thread that does not wait for the load's event loop."""
    while True:
        try:
            reply = await asyncio.to_thread(server.get, "/ping")
            tally.pinged(reply.status, reply.seconds)
        except urllib3.exceptions.HTTPError as error:
            tally.blame(f"a ping got {error!r}")
        await asyncio.sleep(_PING_EVERY_SECONDS)


async def _look(server: Server, tally: Tally) -> None:
    while True:
        tally.holdings.append(await asyncio.to_thread(server.holding))
        await asyncio.sleep(1)
