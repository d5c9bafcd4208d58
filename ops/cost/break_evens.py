"""Where the cheapest kind of target changes as traffic grows."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ops.cost.arithmetic import SECONDS_PER_MONTH
from ops.cost.targets import Target
from ops.cost.traffic import Traffic
from ops.cost.words import count, rounded

LOWEST, HIGHEST = 1e3, 1e10  # requests a month
_STEPS = 400  # a break-even pair closer than 4 % is taken for none
_EXACT = 1 + 1e-9
_EQUAL = 1 + 1e-6  # a difference that only rounding makes


@dataclass(frozen=True)
class BreakEven:
    """`before` is the cheapest below `requests_per_month`, `after` from there on."""

    requests_per_month: float
    before: Target
    after: Target
    is_a_limit: bool
    """Whether `before` would still be cheaper, if the stack's keys allowed as much."""

    @property
    def rate(self) -> str:
        per_second = rounded(self.requests_per_month / SECONDS_PER_MONTH)
        return f"{per_second} requests/s on average ({count(self.requests_per_month)} a month)"

    @property
    def sentence(self) -> str:
        if self.is_a_limit:
            return f"Above {self.rate}, {self.before.name} is at the limit of the stack's keys."
        return f"{self.before.name} is cheaper below {self.rate}, {self.after.name} above."


def cheapest(targets: Sequence[Target], traffic: Traffic) -> Target:
    """The first of those that cost least."""
    return min(targets, key=lambda target: target.usd_per_month(traffic))


def break_evens(targets: Sequence[Target], traffic: Traffic) -> list[BreakEven]:
    """All of them for traffic of that shape, from LOWEST to HIGHEST; at least one target.

    From one instance type to another, or to executions kept warm, is none.
    """
    return list(_changes(targets, traffic))


def _changes(targets: Sequence[Target], traffic: Traffic) -> Iterator[BreakEven]:
    def best(requests: float, kind: str = "") -> Target:
        found = cheapest(targets, asked := traffic.of(requests))
        same = [target for target in targets if target.kind == kind]
        incumbent = cheapest(same, asked) if same else found
        least = found.usd_per_month(asked) * _EQUAL
        return incumbent if incumbent.usd_per_month(asked) <= least else found

    ratio = (HIGHEST / LOWEST) ** (1 / _STEPS)
    left, before = LOWEST, best(LOWEST)
    for step in range(1, _STEPS + 1):
        right = LOWEST * ratio**step
        while best(right, before.kind).kind != before.kind:
            low, high = left, right
            while high > low * _EXACT:
                middle = (low * high) ** 0.5
                stays = best(middle, before.kind).kind == before.kind
                low, high = (middle, high) if stays else (low, middle)
            left, after = high, best(high)
            before = best(low, before.kind)
            limit = math.isinf(before.usd_per_month(traffic.of(high)))
            yield BreakEven(high, before, after, limit)
            before = after
        left = right
