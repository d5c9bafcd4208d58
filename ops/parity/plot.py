"""Latencies as SVG: a row an input, a colour a target. No I/O here."""

import math
from html import escape

from ops.parity.report import Report

COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
)  # told apart by colour-blind readers as well (Okabe, Ito)
_WIDTH, _LEFT, _RIGHT, _TOP, _ROW = 860, 240, 20, 44, 26


def latencies(report: Report) -> str:
    """Every call as a dot and each median as a bar, over milliseconds from 0."""
    longest = max(max(heard.milliseconds) for row in report.rows for heard in row.heard)
    step = _step(longest)
    most = step * math.ceil(longest / step)
    height = _TOP + _ROW * len(report.rows) + 34

    def x(milliseconds: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * milliseconds / most

    parts = [f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="latencies by input">']
    for index, side in enumerate(report.sides):
        left = _LEFT + 200 * index
        parts.append(
            f'<circle cx="{left}" cy="16" r="5" fill="{_colour(index)}"/>'
            f'<text x="{left + 10}" y="20">{escape(side.label)}</text>'
        )
    for tick in range(round(most / step) + 1):
        at, bottom = x(tick * step), height - 30
        parts.append(
            f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP - 10}" y2="{bottom}"/>'
            f'<text class="axis" x="{at:.1f}" y="{bottom + 16}">{tick * step:g}</text>'
        )
    parts.append(f'<text class="axis" x="{_LEFT - 40}" y="{height - 14}">ms</text>')
    for number, row in enumerate(report.rows):
        middle = _TOP + _ROW * (number + 0.5)
        name = row.picture.name if len(row.picture.name) <= 34 else f"{row.picture.name[:33]}…"
        parts.append(f'<text class="name" x="{_LEFT - 12}" y="{middle + 4}">{escape(name)}</text>')
        lane = 14 / len(row.heard)
        for index, heard in enumerate(row.heard):
            y = middle + lane * (index - (len(row.heard) - 1) / 2)
            parts += [
                f'<circle cx="{x(ms):.1f}" cy="{y:.1f}" r="2.4" fill="{_colour(index)}" '
                'fill-opacity="0.45"/>'
                for ms in heard.milliseconds
            ]
            parts.append(
                f'<rect x="{x(heard.median_ms) - 1.5:.1f}" y="{y - 4.5:.1f}" width="3" height="9" '
                f'fill="{_colour(index)}"/>'
            )
    return "".join(parts) + "</svg>"


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _step(longest: float) -> float:
    """1, 2 or 5 times a power of ten, with at most eight steps to the longest."""
    least = max(longest, 0.1) / 8
    power: float = 10 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least)
