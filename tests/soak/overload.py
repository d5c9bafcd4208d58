"""A run of mixed load far beyond capacity, from calibration to verdict."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from soak.bad_upstream import bad_upstream
from soak.load import DESCRIPTORS, Load, beside, capacity
from soak.server import HOST, Holding, Server, serving
from soak.tally import MEMORY_MB, Tally
from soak.traffic import Kind, kinds, learn
from upstream import upstream

CALIBRATION_SECONDS = 4.0
_SETTLE_SECONDS = 3.0
FETCH_TIMEOUT_SECONDS = 2


@dataclass(frozen=True)
class Setting:
    seconds: float
    times: float  # the capacity
    progress: bool = False
    memory_mb: float = MEMORY_MB  # that may be added between the second and the last quarter


@dataclass(frozen=True)
class Run:
    setting: Setting
    per_second: float  # pictures, as calibrated
    tally: Tally
    before: Holding
    after: Holding
    log: str
    problems: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {
            "seconds": self.setting.seconds,
            "capacity_per_second": round(self.per_second, 1),
            "offered_per_second": round(self.per_second * self.setting.times, 1),
            **self.tally.as_json(),
            "idle_before": self.before._asdict(),
            "idle_after": self.after._asdict(),
            "problems": self.problems,
        }


@asynccontextmanager
async def under_test(log_level: str = "WARNING") -> AsyncIterator[tuple[Server, list[Kind]]]:
    """A server of two workers, and the traffic whose right answers it has given while idle.

    It logs no request by default: half an hour of them at ten times its capacity are a gigabyte.
    """
    with TemporaryDirectory() as folder, upstream(HOST, Path(folder)) as good:
        settings = {"FETCH_TIMEOUT_SECONDS": str(FETCH_TIMEOUT_SECONDS), "LOG_LEVEL": log_level}
        async with bad_upstream(HOST) as bad:
            with serving({**good.environment, **settings}) as server:
                learnt = await learn(kinds(good.places, bad), server.port, good.places)
                yield server, learnt


async def overload(setting: Setting) -> Run:
    async with under_test() as (server, learnt):
        picture = learnt[0]
        per_second = await capacity(server, picture, CALIBRATION_SECONDS)
        await asyncio.sleep(_SETTLE_SECONDS)
        before = await asyncio.to_thread(server.holding)
        tally = Tally()
        load = Load(server, learnt, tally)
        telling = asyncio.create_task(_tell(tally, setting))
        async with beside(server, picture, tally):
            await load.arrive(per_second * setting.times, setting.seconds)
            await load.finish()
        telling.cancel()
        await asyncio.sleep(_SETTLE_SECONDS)
        after = await asyncio.to_thread(server.holding)
        log = server.process.output
    run = Run(setting, per_second, tally, before, after, log)
    run.problems.extend(
        [*tally.problems(DESCRIPTORS, setting.memory_mb), *_left(before, after), *_said(log)]
    )
    return run


def _left(before: Holding, after: Holding) -> list[str]:
    """What an idle server holds more of after a run than before."""
    found = []
    if after.descriptors > before.descriptors + 8:  # connections that S3's client keeps
        found.append(f"{before.descriptors} descriptors have become {after.descriptors}")
    if after.files != before.files:
        found.append(f"{before.files} temporary files have become {after.files}")
    return found


def _said(log: str) -> list[str]:
    return ["a traceback is in the log: " + log[-2000:]] if "Traceback" in log else []


async def _tell(tally: Tally, setting: Setting) -> None:
    """A line a minute."""
    for minute in range(1, 1 + int(setting.seconds // 60) if setting.progress else 0):
        await asyncio.sleep(60)
        held = tally.holdings[-1]
        print(
            f"{minute:3} min  {tally.served.total():,} served, {tally.refused.total():,} refused, "
            f"{tally.unsent:,} unsent, {tally.unopened.total():,} unopened, {tally.wrongs} wrong; "
            f"worst ping {tally.worst_ping:.2f} s; {held.pss_mb} MB, {held.descriptors} "
            f"descriptors, {held.threads} threads",
            flush=True,
        )
