"""Ours and a peer, both started: pairs of rounds, and rounds over every number of connections."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.answers import Gate
from bench.comparison import SIDES, sweep_point
from bench.connection import Target
from bench.load import drive
from bench.measured import Round, WrongAnswer, memory_mb, tree
from bench.ours import observed
from bench.report import Pair, is_quiet

SWEEP = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SWEEP_ROUNDS = 3
WARM_UP_SECONDS = 1.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Side:
    """A server that runs here, and what its answers must pass."""

    target: Target
    root: int  # the process that all of its processes descend from
    gate: Gate
    photo: bytes

    def round(self, concurrency: int, seconds: float) -> Round:
        request = self.target.request(self.photo)
        return drive(self.target, request, self.gate.check, concurrency, seconds, root=self.root)

    def memory_mb(self) -> dict[str, float]:
        sizes = list(memory_mb(tree(self.root)).values())
        return {
            "largest_process_rss": max(rss for rss, _ in sizes),
            "all_processes_pss": sum(pss for _, pss in sizes),
        }


@dataclass(frozen=True)
class Duel:
    """Every method raises WrongAnswer; ours may refuse in a sweep only, and never break off."""

    ours: Side
    peer: Side
    say: Say

    def pairs(self, concurrency: int, pairs: int, attempts: int, seconds: float) -> list[Pair]:
        """Until `pairs` of them were quiet, or `attempts` times as many were measured.

        Chance says which side goes first, lest something periodic meet one side more often.
        """
        for side in (self.ours, self.peer):
            side.round(concurrency, WARM_UP_SECONDS)
        measured: list[Pair] = []
        order = random.Random(concurrency)  # noqa: S311 - the same order in every run
        while sum(map(is_quiet, measured)) < pairs and len(measured) < attempts * pairs:
            if order.random() < 0.5:
                ours = self._observed(self.ours, concurrency, seconds)
                theirs = self._observed(self.peer, concurrency, seconds)
            else:
                theirs = self._observed(self.peer, concurrency, seconds)
                ours = self._observed(self.ours, concurrency, seconds)
            if ours.broken or ours.refused:
                raise WrongAnswer(f"ours: {ours.refused} refused, {ours.broken} broken connections")
            measured.append((ours, theirs))
            self.say(
                f"{concurrency} connections, pair {len(measured)}: "
                f"{ours.requests_per_second:.1f} ours, {theirs.requests_per_second:.1f} theirs"
                + ("" if is_quiet(measured[-1]) else " (disturbed)")
            )
        return measured

    def sweep(self, seconds: float, limit: int) -> dict[str, list[dict[str, Any]]]:
        """By side, the medians of some rounds at each concurrency; the peer's up to `limit`."""
        points: dict[str, list[dict[str, Any]]] = {name: [] for name in SIDES}
        for concurrency in SWEEP:
            sides = (self.ours, self.peer) if concurrency <= limit else (self.ours,)
            rounds = [[s.round(concurrency, seconds) for s in sides] for _ in range(SWEEP_ROUNDS)]
            if any(ours.broken for ours, *_ in rounds):
                raise WrongAnswer(f"ours: broken connections of {concurrency}")
            for name, of_side in zip(SIDES, zip(*rounds)):
                points[name].append(sweep_point(concurrency, of_side))
            rates = (f"{points[n][-1]['requests_per_second']:.1f}" for n, _ in zip(SIDES, sides))
            self.say(f"sweep, {concurrency} connections: {' and '.join(rates)} requests/s")
        return points

    @staticmethod
    def _observed(side: Side, concurrency: int, seconds: float) -> Round:
        return observed(lambda: side.round(concurrency, seconds))
