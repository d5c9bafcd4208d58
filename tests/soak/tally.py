"""What became of the requests of a run, and what is wrong with that."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

from soak.server import Holding
from soak.traffic import Outcome

PING_SECONDS = 2.0  # SageMaker's own limit for an answer
UNOPENED_SHARE = 0.01  # of what was asked: the listener's backlog was full
_NAMED = 20  # of things that are wrong, in a report
# Of memory, between two quarters of a run: what caches, heaps and threads' stacks fill late.
MEMORY_SHARE, MEMORY_MB = 0.05, 10.0


@dataclass
class Tally:
    served: Counter[str] = field(default_factory=Counter)  # by kind
    refused: Counter[str] = field(default_factory=Counter)  # 503 with Retry-After
    late: Counter[str] = field(default_factory=Counter)  # see `traffic.Outcome`
    unopened: Counter[str] = field(default_factory=Counter)  # no connection in time
    unsent: int = 0  # no client was free: all connections had a request on its way
    dead: set[int] = field(default_factory=set)  # own ports of connections to killed workers
    excused: int = 0  # requests that broke on one of those
    pings_503: int = 0
    slow: Counter[str] = field(default_factory=Counter)  # how slow clients' connections ended
    wrong: list[str] = field(default_factory=list)
    wrongs: int = 0
    served_seconds: list[float] = field(default_factory=list)
    refused_seconds: list[float] = field(default_factory=list)
    pings: list[float] = field(default_factory=list)
    holdings: list[Holding] = field(default_factory=list)  # one a second

    def count(self, kind: str, outcome: Outcome, seconds: float) -> None:
        if outcome == "late":
            self.late[kind] += 1
            return
        served = outcome == "served"
        (self.served if served else self.refused)[kind] += 1
        (self.served_seconds if served else self.refused_seconds).append(seconds)

    def blame(self, what: str) -> None:
        self.wrongs += 1
        if len(self.wrong) < _NAMED:
            self.wrong.append(what)

    def broke(self, own_port: int, what: str) -> None:
        """A connection ended before its answer was whole."""
        if own_port in self.dead:
            self.excused += 1
        else:
            self.blame(what)

    def pinged(self, line: str) -> None:
        """Count a line of the pinger: seconds, its own port, a status or an exception."""
        seconds, own_port, said = line.rstrip().split(" ", 2)
        self.pings.append(float(seconds))
        if said == "503":
            self.pings_503 += 1
        elif said != "200":
            self.broke(int(own_port), f"a ping got {said}")

    @property
    def asked(self) -> int:
        answered = self.served.total() + self.refused.total() + self.late.total()
        return answered + self.unopened.total() + self.excused + self.wrongs

    @property
    def worst_ping(self) -> float:
        return max(self.pings, default=0.0)

    def quarters(self) -> tuple[Holding, Holding]:
        """Medians of the second and of the last quarter of the run: the first one warms up."""
        size = len(self.holdings) // 4 or 1
        second, last = self.holdings[size : 2 * size] or self.holdings, self.holdings[-size:]
        return _middle(second), _middle(last)

    def problems(self, descriptors: int, memory_mb: float) -> list[str]:
        """Why the run is no good.

        `descriptors`: the most that the server may hold; `memory_mb`: by which its memory may grow
        from the second quarter to the last, beside MEMORY_SHARE.
        """
        found = list(self.wrong)
        if self.unopened.total() > UNOPENED_SHARE * self.asked:
            found.append(f"{self.unopened.total()} connections were not opened in time")
        if not self.served:
            found.append("nothing was served")
        if self.pings_503 and not self.dead:
            found.append(f"{self.pings_503} pings got 503, and no worker was killed")
        if not self.pings or self.worst_ping >= PING_SECONDS:
            found.append(f"of {len(self.pings)} pings the slowest took {self.worst_ping:.2f} s")
        second, last = self.quarters()
        if last.pss_mb > second.pss_mb * (1 + MEMORY_SHARE) + memory_mb:
            found.append(f"memory grew from {second.pss_mb} to {last.pss_mb} MB")
        if max(held.descriptors for held in self.holdings) > descriptors:
            found.append(f"more than {descriptors} descriptors were open")
        if max(held.files for held in self.holdings) > self.holdings[0].files:
            found.append("files were left in the temporary folder")
        return found

    def as_json(self) -> dict[str, Any]:
        served, refused = percentiles(self.served_seconds), percentiles(self.refused_seconds)
        second, last = self.quarters()
        return {
            "served": dict(self.served),
            "refused": dict(self.refused),
            "late": dict(self.late),
            "unopened": dict(self.unopened),
            "unsent": self.unsent,
            "slow": dict(self.slow),
            "wrong": self.wrong,
            "wrongs": self.wrongs,
            "served_p50_p99_seconds": served,
            "refused_p50_p99_seconds": refused,
            "excused": self.excused,
            "pings": len(self.pings),
            "pings_503": self.pings_503,
            "worst_ping_seconds": round(self.worst_ping, 3),
            "second_quarter": second._asdict(),
            "last_quarter": last._asdict(),
            "most_descriptors": max(held.descriptors for held in self.holdings),
            "most_threads": max(held.threads for held in self.holdings),
        }


def percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    """The 50th and the 99th."""
    if len(seconds) < 2:
        return 0.0, 0.0
    cuts = quantiles(seconds, n=100)
    return round(cuts[49], 3), round(cuts[98], 3)


def _middle(holdings: Sequence[Holding]) -> Holding:
    pss, *others = zip(*holdings, strict=True)
    return Holding(median(pss), *(int(median(values)) for values in others))
