"""Ours and a peer, both started: pairs of rounds, and rounds over every number of connections."""

import random
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any

from bench.answers import Gate
from bench.comparison import SIDES, sweep_point
from bench.connection import Target
from bench.load import NoAnswer, drive
from bench.measured import Round, WrongAnswer, memory_mb, tree
from bench.ours import observed
from bench.report import Pair, is_quiet

SWEEP = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SWEEP_ROUNDS = 3
WARM_UP_SECONDS = 1.0
MAX_HANGS = 3

Say = Callable[[str], None]


class PeerHung(Exception):
    """The peer answered nothing for so long that nothing more is expected."""


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


class Duel:
    """Pairs of rounds. A wrong answer of either side, or a failure of ours, raises.

    A peer that falls silent is started again, `MAX_HANGS` times at a concurrency, and that is kept
    beside its figures; ours may not, and may refuse in a sweep only.
    """

    def __init__(
        self, ours: Side, start_peer: Callable[[], AbstractContextManager[Side]], say: Say
    ) -> None:
        self.ours, self._start_peer, self._say = ours, start_peer, say
        self._running = ExitStack()

    def __enter__(self) -> "Duel":
        self.peer = self._running.enter_context(self._start_peer())
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def pairs(
        self, concurrency: int, pairs: int, attempts: int, seconds: float
    ) -> tuple[list[Pair], int]:
        """Until `pairs` of them were quiet, or `attempts` times as many were measured; the hangs.

        Chance says which side goes first, lest something periodic meet one side more often.
        """
        self.ours.round(concurrency, WARM_UP_SECONDS)
        measured: list[Pair] = []
        hangs, warm = 0, False
        order = random.Random(concurrency)  # noqa: S311 - the same order in every run
        while sum(map(is_quiet, measured)) < pairs and len(measured) < attempts * pairs:
            try:
                if not warm:
                    self._theirs(concurrency, WARM_UP_SECONDS)
                    warm = True
                if order.random() < 0.5:
                    ours = self._ours(concurrency, seconds)
                    theirs = self._theirs(concurrency, seconds)
                else:
                    theirs = self._theirs(concurrency, seconds)
                    ours = self._ours(concurrency, seconds)
            except PeerHung as error:
                hangs, warm = hangs + 1, False
                self._say(f"{concurrency} connections: {error}; it is started again")
                self._restart()
                if hangs == MAX_HANGS:
                    break
                continue
            measured.append((ours, theirs))
            self._say(
                f"{concurrency} connections, pair {len(measured)}: "
                f"{ours.requests_per_second:.1f} ours, {theirs.requests_per_second:.1f} theirs"
                + ("" if is_quiet(measured[-1]) else " (disturbed)")
            )
        return measured, hangs

    def sweep(self, seconds: float, limit: int) -> dict[str, list[dict[str, Any]]]:
        """By side, the medians of some rounds at each concurrency; the peer's up to `limit`.

        A peer that falls silent has no figures from there on.
        """
        points: dict[str, list[dict[str, Any]]] = {name: [] for name in SIDES}
        for concurrency in SWEEP:
            rounds: dict[str, list[Round]] = {name: [] for name in SIDES}
            for _ in range(SWEEP_ROUNDS):
                rounds["ours"].append(self.ours.round(concurrency, seconds))
                if concurrency <= limit:
                    try:
                        rounds["peer"].append(self.peer.round(concurrency, seconds))
                    except NoAnswer as error:
                        self._say(f"sweep, {concurrency} connections: {error}")
                        rounds["peer"], limit = [], 0
            if any(one.broken for one in rounds["ours"]):
                raise WrongAnswer(f"ours: broken connections of {concurrency}")
            for name in SIDES:
                if rounds[name]:
                    points[name].append(sweep_point(concurrency, rounds[name]))
            rates = (
                f"{points[name][-1]['requests_per_second']:.1f}" for name in SIDES if rounds[name]
            )
            self._say(f"sweep, {concurrency} connections: {' and '.join(rates)} requests/s")
        return points

    def _restart(self) -> None:
        self._running.close()
        self.peer = self._running.enter_context(self._start_peer())

    def _ours(self, concurrency: int, seconds: float) -> Round:
        found = observed(lambda: self.ours.round(concurrency, seconds))
        if found.broken or found.refused:
            raise WrongAnswer(f"ours: {found.refused} refused, {found.broken} broken connections")
        return found

    def _theirs(self, concurrency: int, seconds: float) -> Round:
        try:
            return observed(lambda: self.peer.round(concurrency, seconds))
        except NoAnswer as error:
            raise PeerHung(str(error)) from None
