"""Traffic over a month: how many requests, and when."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from ops.cost.arithmetic import HOURS_PER_MONTH, SECONDS_PER_MONTH, Hours

HOURS_OF = {24: "a day", 168: "a week"}
MOST_REQUESTS = 1e13  # 4 million a second; more is a slip of the pen


class TrafficError(Exception):
    """What was said of the traffic makes none; one line."""


@dataclass(frozen=True)
class Traffic:
    """`weights`: the requests of each hour of a day or a week, in any unit; one is even traffic."""

    requests_per_month: float
    weights: Sequence[float] = (1.0,)

    @property
    def mean_per_second(self) -> float:
        return self.requests_per_month / SECONDS_PER_MONTH

    @cached_property
    def hours(self) -> Sequence[Hours]:
        """The month's hours, those of equal traffic together."""
        mean_weight = sum(self.weights) / len(self.weights)
        each = HOURS_PER_MONTH / len(self.weights)
        return [
            Hours(count * each, self.mean_per_second * weight / mean_weight)
            for weight, count in Counter(self.weights).items()
        ]

    @property
    def peak_per_second(self) -> float:
        """Of the busiest hour."""
        return max(hours.requests_per_second for hours in self.hours)

    def of(self, requests_per_month: float) -> "Traffic":
        """As many, at the same times of day."""
        return replace(self, requests_per_month=requests_per_month)


def parse(requests: str | None, profile: str | None) -> Traffic | None:
    """Traffic from the command line; None where nothing was said of how much. Raises TrafficError.

    Without `requests`, a profile's numbers are the requests in each hour.
    """
    weights = _profile(profile) if profile else (1.0,)
    if requests:
        return Traffic(_number(requests), weights)
    if profile:
        return Traffic(sum(weights) / len(weights) * HOURS_PER_MONTH, weights)
    return None


def _number(text: str) -> float:
    """A number of requests: 2500000, 2_500_000, 2.5e6, 2.5M."""
    units = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9}
    found = re.fullmatch(r"([0-9][0-9_,]*\.?[0-9]*(?:e\+?[0-9]{1,2})?)([kmb]?)", text.lower())
    value = float(re.sub("[_,]", "", found[1])) * units[found[2]] if found else 0.0
    if not 0 < value <= MOST_REQUESTS:
        raise TrafficError(
            f"--requests {text}: it must be a number above 0 and up to {MOST_REQUESTS:.0e}, "
            "such as 2500000, 2.5e6 or 2.5M"
        )
    return value


def _profile(text: str) -> tuple[float, ...]:
    if "," not in text and Path(text).is_file():
        weights = _read(Path(text))
    elif "," in text:
        weights = [_weight(cell, text) for cell in text.split(",")]
    else:
        raise TrafficError(f"--profile {text}: there is no such file")
    if len(weights) not in HOURS_OF:
        raise TrafficError(
            f"--profile: {len(weights)} numbers, and it must be 24 (the hours of a day) "
            "or 168 (of a week)"
        )
    if not any(weights):
        raise TrafficError("--profile: every hour is 0")
    return tuple(weights)


def _read(path: Path) -> list[float]:
    """The last column of a CSV file; a first line without a number is its heading."""
    try:
        rows = [row for row in csv.reader(path.read_text().splitlines()) if any(row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TrafficError(f"--profile {path}: not a CSV file ({error})") from None
    cells = [row[-1] for row in rows]
    if cells and not re.search("[0-9]", cells[0]):
        cells = cells[1:]
    return [_weight(cell, str(path)) for cell in cells]


def _weight(cell: str, where: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = -1.0
    if not 0 <= value <= MOST_REQUESTS:
        raise TrafficError(f"--profile {where[:60]}: {cell.strip()!r} is no number of requests")
    return value
