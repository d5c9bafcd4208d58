"""Count how the requests of a run ended, and list what is wrong."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from soak.server import Holding
from soak.traffic import Outcome

PING_SECONDS = 2.0  # SageMaker's own limit for an answer
RARE = 0.01  # the largest share of connections not opened in time, or closed while idle
_NAMED = 20  # the most faults in a report
# Caches, heaps and threads' stacks may grow so much between two quarters of a run.
MEMORY_SHARE, MEMORY_MB = 0.05, 10.0
# How requests end. `traffic.Outcome` explains `late`.
ENDS = ("served", "refused", "late", "unopened", "idle_closed", "wrong")


@dataclass
class Tally:
    ended: Counter[str] = field(default_factory=Counter)  # by ENDS
    unsent: int = 0  # no client was free
    pings_503: int = 0
    slow: Counter[str] = field(default_factory=Counter)  # how slow clients' connections ended
    wrong: list[str] = field(default_factory=list)  # the first faults
    seconds: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in ENDS})
    pings: list[float] = field(default_factory=list)
    holdings: list[Holding] = field(default_factory=list)  # one a second

    def count(self, outcome: Outcome, seconds: float) -> None:
        self.ended[outcome] += 1
        self.seconds[outcome].append(seconds)

    def blame(self, what: str) -> None:
        self.ended["wrong"] += 1
        if len(self.wrong) < _NAMED:
            self.wrong.append(what)

    def pinged(self, status: int, seconds: float) -> None:
        self.pings.append(seconds)
        if status == 503:
            self.pings_503 += 1
        elif status != 200:
            self.blame(f"a ping got {status}")

    @property
    def worst_ping(self) -> float:
        return max(self.pings, default=0.0)

    def quarters(self) -> tuple[Holding, Holding]:
        """Return the medians of the second and the last quarter. The first is a warm-up."""
        size = len(self.holdings) // 4 or 1
        second, last = self.holdings[size : 2 * size] or self.holdings, self.holdings[-size:]
        return _middle(second), _middle(last)

    def problems(self, descriptors: int, memory_mb: float) -> list[str]:
        """Return why the run has failed.

        The server may hold `descriptors`; besides MEMORY_SHARE, its memory may grow by `memory_mb`
        from the second quarter to the last.
        """
        found = list(self.wrong)
        second, last = self.quarters()
        for name in ("unopened", "idle_closed"):
            if self.ended[name] > RARE * self.ended.total():
                found.append(f"{self.ended[name]} connections: {name}")
        if not self.ended["served"]:
            found.append("nothing was served")
        if not self.pings or self.pings_503 or self.worst_ping >= PING_SECONDS:
            slowest = f"the slowest took {self.worst_ping:.2f} s"
            found.append(f"{len(self.pings)} pings: {self.pings_503} got 503, {slowest}")
        if last.pss_mb > second.pss_mb * (1 + MEMORY_SHARE) + memory_mb:
            found.append(f"memory grew from {second.pss_mb} to {last.pss_mb} MB")
        if max(held.descriptors for held in self.holdings) > descriptors:
            found.append(f"more than {descriptors} descriptors were open")
        return found

    def as_json(self) -> dict[str, Any]:
        second, last = self.quarters()
        return {
            "asked": self.ended.total(),
            **{name: self.ended[name] for name in ENDS},
            "unsent": self.unsent,
            "served_p50_p99_seconds": _percentiles(self.seconds["served"]),
            "refused_p50_p99_seconds": _percentiles(self.seconds["refused"]),
            "pings": len(self.pings),
            "worst_ping_seconds": round(self.worst_ping, 3),
            "second_quarter": second._asdict(),
            "last_quarter": last._asdict(),
            "slow": dict(sorted(self.slow.items())),
        }


def _percentiles(seconds: Sequence[float]) -> list[float]:
    return [round(float(value), 3) for value in np.percentile(seconds or [0.0], (50, 99))]


def _middle(holdings: Sequence[Holding]) -> Holding:
    pss, *counts = np.median(holdings, axis=0)
    return Holding(float(pss), *map(int, counts))
