"""Cost against traffic on logarithmic axes: what is drawn, and a drawing for the terminal."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ops.cost.arithmetic import SECONDS_PER_MONTH
from ops.cost.break_evens import HIGHEST, LOWEST
from ops.cost.estimate import Estimate
from ops.cost.traffic import Traffic
from ops.cost.words import count, rounded, usd

POINTS = 480
MARKS = "ABCDEFGHIJ"
MOST_MARKED = 4
"""Break-evens: those after these are too close together to be told apart."""


@dataclass(frozen=True)
class Curve:
    name: str
    mark: str
    points: Sequence[tuple[float, float]]
    """Requests a month, and US dollars."""


@dataclass(frozen=True)
class Drawing:
    """Both axes are whole powers of ten."""

    title: str
    curves: Sequence[Curve]
    x: tuple[int, int]
    y: tuple[int, int]
    turns: Sequence[tuple[float, str]]
    """Requests a month at which something ends, with what is said of it."""
    today: float | None

    def at(self, requests: float, dollars: float) -> tuple[float, float]:
        """From the lower left corner, 0 to 1 each way."""
        across = (math.log10(requests) - self.x[0]) / (self.x[1] - self.x[0])
        up = (math.log10(dollars) - self.y[0]) / (self.y[1] - self.y[0])
        return across, up


def drawing(estimate: Estimate) -> Drawing:
    """Wide enough for today's traffic and the break-evens, with room on both sides."""
    today = estimate.traffic.requests_per_month if estimate.traffic else None
    turns = [
        (point.requests_per_month, "limit" if point.is_a_limit else "break-even")
        for point in estimate.break_evens[:MOST_MARKED]
    ]
    seen = [*(requests for requests, _ in turns), *([today] if today else [])] or [1e6]
    low = max(math.log10(LOWEST), math.floor(math.log10(min(seen)) - 1.5))
    high = min(math.log10(HIGHEST * 100), math.ceil(math.log10(max(seen)) + 0.5))
    shape = estimate.traffic or Traffic(1.0)
    steps = [10 ** (low + (high - low) * step / POINTS) for step in range(POINTS + 1)]
    curves = []
    for mark, target in zip(MARKS, estimate.rivals):
        costs = [(requests, target.usd_per_month(shape.of(requests))) for requests in steps]
        finite = [(requests, dollars) for requests, dollars in costs if 0 < dollars < math.inf]
        if finite:
            curves.append(Curve(target.name, mark, finite))
    every = [dollars for curve in curves for _, dollars in curve.points]
    bottom = math.floor(math.log10(max(min(every, default=1.0), 0.01)))
    top = math.ceil(math.log10(max([*every, 1.0])))
    return Drawing(
        title=f"A month's cost by traffic, {estimate.prices.title}",
        curves=curves,
        x=(int(low), int(high)),
        y=(bottom, max(top, bottom + 1)),
        turns=[(requests, f"{what} {said(requests)}") for requests, what in turns],
        today=today,
    )


def in_terminal(drawn: Drawing, width: int = 72, rows: int = 18) -> str:
    """Each curve as its letter, break-evens and limits as columns of dots, today as a caret."""
    decades = drawn.y[1] - drawn.y[0]
    height = max(2, round(rows / decades)) * decades + 1  # so that each power has a row of its own
    grid = [[" "] * width for _ in range(height)]

    def column(requests: float) -> int:
        return round(drawn.at(requests, 1.0)[0] * (width - 1))

    for requests, _ in drawn.turns:
        for row in grid:
            row[column(requests)] = "·"
    for curve in reversed(drawn.curves):
        for requests, dollars in curve.points:
            across, up = drawn.at(requests, dollars)
            if 0 <= up <= 1:
                grid[round((1 - up) * (height - 1))][round(across * (width - 1))] = curve.mark
    lines = []
    for number, row in enumerate(grid):
        up = 1 - number / (height - 1)
        power = drawn.y[0] + up * decades
        label = tick_usd(round(power)) if abs(power - round(power)) < 1e-6 else ""
        lines.append(f"{label:>10} ┤{''.join(row)}")
    lines.append(f"{'':>10} └{'─' * width}")
    below = [" "] * (width + 8)
    for power in range(drawn.x[0], drawn.x[1] + 1):
        text = tick_count(power)
        start = min(column(10.0**power), width - len(text))
        below[start : start + len(text)] = text
    lines.append(f"{'':>12}{''.join(below).rstrip()}")
    if drawn.today:
        lines.append(f"{'':>12}{' ' * column(drawn.today)}^ today")
    lines.append(f"{'':>12}requests a month")
    lines += [f"{'':>12}{curve.mark}  {curve.name}" for curve in drawn.curves]
    lines += [f"{'':>12}·  {label}" for _, label in drawn.turns]
    return "\n".join(lines)


def said(requests: float) -> str:
    return f"{count(requests)} ({rounded(requests / SECONDS_PER_MONTH)}/s)"


def tick_count(power: int) -> str:
    """10 ** power in few letters: 1k, 100M."""
    unit = {0: "", 1: "k", 2: "M", 3: "G", 4: "T"}[power // 3]
    return f"{10 ** (power % 3)}{unit}"


def tick_usd(power: int) -> str:
    return usd(10.0**power) if power < 0 else f"${tick_count(power)}"
