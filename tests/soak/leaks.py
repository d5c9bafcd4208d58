"""Tens of thousands of requests of all kinds, errors included, and what they leave behind."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from soak.load import Load
from soak.overload import under_test
from soak.server import Holding
from soak.tally import Tally

_LANES = 32
_BURST = 300  # clients at once, so that every thread has been started before the first look
_SETTLE_SECONDS = 3.0
# Of 50,000 requests, 0.8 KB each. Bodies of megabytes leave a heap uneven by half of that.
_MEMORY_MB = 40.0
# More of them than before: threads that a pool starts when it first needs so many, connections
# that the client of S3 keeps, no file.
_ALLOWED = {"threads": 16, "descriptors": 8, "files": 0}


@dataclass(frozen=True)
class Left:
    requests: int
    before: Holding
    after: Holding
    tally: Tally
    problems: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "before": self.before._asdict(),
            "after": self.after._asdict(),
            "served": self.tally.served.total(),
            "refused": self.tally.refused.total(),
            "problems": self.problems,
        }


async def leaks(requests: int, warm_up: int) -> Left:
    """Ask `warm_up` times, look, ask `requests` times, look again; the server is idle at each."""
    async with under_test() as (server, learnt):
        tally = Tally()
        load = Load(server, learnt, tally)
        await load.closed_loop(_BURST, _BURST)
        await load.closed_loop(warm_up - _BURST, _LANES)
        load.close()
        await asyncio.sleep(_SETTLE_SECONDS)
        before = server.holding()
        await load.closed_loop(requests, _LANES)
        load.close()
        await asyncio.sleep(_SETTLE_SECONDS)
        after = server.holding()
    found = Left(requests, before, after, tally, list(tally.wrong))
    if after.pss_mb > before.pss_mb + _MEMORY_MB:
        found.problems.append(f"memory grew from {before.pss_mb} to {after.pss_mb} MB")
    for what, more in _ALLOWED.items():
        first, last = getattr(before, what), getattr(after, what)
        if last > first + more:
            found.problems.append(f"{first} {what} have become {last}")
    return found
