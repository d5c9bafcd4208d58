"""Requests that arrive whether or not the server keeps up, beside pingers and slow clients."""

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from soak import pinger
from soak.client import Broken, Lane, Unopened
from soak.server import HOST, Server
from soak.slow import CLIENTS, keep_on
from soak.tally import Tally
from soak.traffic import Kind, Wrong

LANES = 360
SLOW_OF_EACH = 5  # of eight kinds: 40 connections more
# That a server may hold: twice the clients, for what it fetches and holds when idle.
DESCRIPTORS = 2 * (LANES + SLOW_OF_EACH * len(CLIENTS))
_TICK_SECONDS = 0.005
_FRESH = 0.3  # so many of the requests come on a connection of their own


class Load:
    """Asks in the kinds' proportions, by `LANES` clients, and counts what becomes of it."""

    def __init__(self, server: Server, kinds: Sequence[Kind], tally: Tally) -> None:
        self._kinds, self.tally = kinds, tally
        self._random = random.Random(5)  # noqa: S311 - the same traffic at every run
        self._lanes = [Lane(HOST, server.port) for _ in range(LANES)]
        self._idle = list(self._lanes)
        self._under_way: set[asyncio.Task[None]] = set()

    async def arrive(self, per_second: float, seconds: float) -> None:
        """An open loop: a request that finds no free lane counts as unsent, and none waits."""
        started = asyncio.get_running_loop().time()
        arrived = 0
        while (elapsed := asyncio.get_running_loop().time() - started) < seconds:
            due = int(elapsed * per_second) - arrived
            arrived += due
            for kind in self._drawn(min(due, len(self._idle))):
                self._start(kind)
                due -= 1
            self.tally.unsent += due
            await asyncio.sleep(_TICK_SECONDS)

    async def closed_loop(self, requests: int, lanes: int) -> None:
        """So many requests, by clients that ask again as soon as they are answered."""

        async def client(lane: Lane) -> None:
            for kind in self._drawn(requests // lanes):
                await self._ask(lane, kind)

        await asyncio.gather(*(client(lane) for lane in self._lanes[:lanes]))

    async def finish(self) -> None:
        """Wait for what is under way, and close the connections."""
        while self._under_way:
            await asyncio.wait(self._under_way)
        self.close()

    def close(self) -> None:
        for lane in self._lanes:
            lane.close()

    def _drawn(self, number: int) -> list[Kind]:
        shares = [kind.share for kind in self._kinds]
        return self._random.choices(self._kinds, shares, k=number) if number else []

    def _start(self, kind: Kind) -> None:
        task = asyncio.create_task(self._take_a_lane(kind))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

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
            outcome = kind.outcome(answer)
            self.tally.count(kind.name, outcome, time.perf_counter() - started)
        except Unopened:
            self.tally.unopened[kind.name] += 1
        except Wrong as error:
            self.tally.blame(str(error))
        except Broken as error:
            self.tally.broke(lane.own_port, f"{kind.name}: no answer: {error}")


async def capacity(server: Server, picture: Kind, seconds: float) -> float:
    """Pictures a second that 16 clients get, each asking again as soon as it is answered."""
    until = time.perf_counter() + seconds

    async def client() -> int:
        lane, answers = Lane(HOST, server.port), 0
        while time.perf_counter() < until:
            assert picture.outcome(await lane.ask(picture.message)) == "served"
            answers += 1
        lane.close()
        return answers

    return sum(await asyncio.gather(*(client() for _ in range(16)))) / seconds


@asynccontextmanager
async def beside(server: Server, picture: Kind, tally: Tally) -> AsyncIterator[None]:
    """The pinger, slow clients, and a look a second at what the server holds."""
    jobs = [
        _ping(server, tally),
        _look(server, tally),
        *(
            keep_on(client, server.port, picture, tally)
            for client in CLIENTS
            for _ in range(SLOW_OF_EACH)
        ),
    ]
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
    """Count what the pinger prints."""
    command = [sys.executable, pinger.__file__, str(server.port)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    try:
        while line := await process.stdout.readline():
            tally.pinged(line.decode())
    finally:
        process.terminate()
        await process.wait()


async def _look(server: Server, tally: Tally) -> None:
    while True:
        tally.holdings.append(await asyncio.to_thread(server.holding))
        await asyncio.sleep(1)
