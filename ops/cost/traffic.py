"""Describe a month's traffic: the number of requests and their distribution over the hours."""

import csv
import math
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from ops.cost import CostError

HOURS_PER_MONTH = 730  # as in AWS's calculator
SECONDS_PER_MONTH = HOURS_PER_MONTH * 3600
MOST_REQUESTS = 1e13  # 4 million a second; more must be a typo


@dataclass(frozen=True)
class Traffic:
    """Hold a month's requests. `weights` has one for each hour of a day or week, or just one."""

    requests_per_month: float
    weights: Sequence[float] = (1.0,)

    @property
    def mean_per_second(self) -> float:
        return self.requests_per_month / SECONDS_PER_MONTH

    @cached_property
    def hours(self) -> Sequence[tuple[float, float]]:
        """Return pairs: a number of hours and their common rate in requests/s."""
        mean_weight = sum(self.weights) / len(self.weights)
        each = HOURS_PER_MONTH / len(self.weights)
        return [
            (count * each, self.mean_per_second * weight / mean_weight)
            for weight, count in Counter(self.weights).items()
        ]

    @property
    def peak_per_second(self) -> float:
        """Return the rate of the busiest hour."""
        return max(rate for _, rate in self.hours)

    def scaled_to(self, requests_per_month: float) -> "Traffic":
        """Return traffic of the same shape with another number of requests."""
        return replace(self, requests_per_month=requests_per_month)


def parse(requests: str | None, profile: str | None) -> Traffic | None:
    """Return the traffic of the options, or None without both. Raise OSError and CostError.

    Without `requests`, the profile's numbers are the requests in each hour.
    """
    weights = (1.0,) if profile is None else _profile(profile, is_shape=requests is not None)
    if requests is not None:
        return Traffic(_requests(requests), weights)
    if profile is None:
        return None
    total = sum(weights)
    if any(math.isclose(total, shares, rel_tol=1e-3) for shares in (1, 100)):
        raise CostError(
            f"--profile: its numbers add up to {total:.3g}, as shares do; add the requests of a "
            "month with --requests"
        )
    return Traffic(total / len(weights) * HOURS_PER_MONTH, weights)


def count(requests: float) -> str:
    """Format a number of requests: 850 thousand, 2.5 million, 1.3 billion."""
    for size, unit in ((1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if requests >= size:
            return f"{requests / size:,.3g} {unit}"
    return f"{requests:,.0f}"


def average(requests: float) -> str:
    """Format a month's requests as a mean rate."""
    rate = rounded(requests / SECONDS_PER_MONTH)
    return f"{rate} requests/s on average ({count(requests)} a month)"


def rounded(number: float) -> str:
    """Format a number with two digits, or as an integer if it is longer."""
    return f"{number:,.0f}" if number >= 9.95 else f"{number:#.2g}"


def _requests(text: str) -> float:
    """Parse a number of requests: 2500000, 2,500,000, 2_500_000, 2.5e6, 2.5M."""
    is_grouped = re.fullmatch("[0-9]{1,3}([_,][0-9]{3})+", text)
    digits = re.sub("[_,]", "", text) if is_grouped else text.lower()
    if re.fullmatch("[0-9]+[_,][0-9]+[kmb]?", digits):
        raise CostError(f"--requests {text}: it {_two_meanings(text)}")
    # Refuse a point without a unit or an exponent: 2.000 may mean 2000.
    pattern = r"([0-9]+(?:\.[0-9]*(?=[ekmb]))?(?:e\+?[0-9]{1,2})?)([kmb]?)"
    found = re.fullmatch(pattern, digits)
    units = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9}
    value = float(found[1]) * units[found[2]] if found else 0.0
    if not 1 <= value <= MOST_REQUESTS or not round(value, 3).is_integer():
        raise CostError(
            f"--requests {text}: it must be a number from 1 to {MOST_REQUESTS:.0e} without a "
            "fraction, such as 2500000, 2.5e6 or 2.5M"
        )
    return value


def _two_meanings(text: str) -> str:
    """Name both readings of a text: its separator may be a decimal point or group thousands."""
    either = (re.sub("[_,]", separator, text) for separator in (".", ""))
    return f"may be {' or '.join(either)}; write one of them"


def _profile(text: str, is_shape: bool) -> tuple[float, ...]:
    """Parse numbers with commas, or the last column of a CSV file with or without a heading."""
    # pathlib raises an error if the name is too long.
    is_list = "," in text and not os.path.exists(text)  # noqa: PTH110
    cells = text.split(",") if is_list else _last_column(Path(text))
    for cell in cells:
        if re.fullmatch("[0-9]+,[0-9]+", cell):
            raise CostError(f"--profile {text}: {cell} {_two_meanings(cell)}")
        if _number(cell) is None:
            raise CostError(f"--profile: it has {cell!r}, which is not a number")
    pointed = [cell for cell in cells if re.fullmatch(r"[1-9][0-9]{0,2}\.[0-9]{3}", cell)]
    whole = [cell for cell in cells if re.fullmatch("[0-9]{1,3}", cell)]
    # If no number is whole, both readings have the same shape.
    if pointed and len(pointed) + len(whole) == len(cells) and (whole or not is_shape):
        either = f"{pointed[0]}0 or {pointed[0].replace('.', '')}"
        raise CostError(f"--profile {text}: {pointed[0]} may be {either}; write one of them")
    weights = tuple(map(float, cells))
    if len(weights) not in (24, 168):
        must_have = "it must have 24 (the hours of a day) or 168 (of a week)"
        raise CostError(f"--profile: it has {len(weights)} numbers; {must_have}")
    if not all(0 <= weight <= MOST_REQUESTS for weight in weights) or not any(weights):
        raise CostError("--profile: its numbers must be 0 or more, and one of them above 0")
    return weights


def _last_column(path: Path) -> list[str]:
    """Return the last cell of each row but the heading. Raise CostError if commas are ambiguous."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        delimiter = next((each for each in ";\t" if each in text), ",")
        rows = [row for row in csv.reader(text.splitlines(), delimiter=delimiter) if any(row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise CostError(f"--profile {path}: not a CSV file ({error})") from None
    has_heading = len(rows) > 1 and _number(rows[0][-1]) is None and "," not in rows[0][-1]
    widths = {len(row) for row in rows}
    columns_are_clear = has_heading or delimiter != "," or widths <= {1}
    if len(widths) > 1 or not (columns_are_clear or _two_columns(rows)):
        raise CostError(
            f"--profile {path}: a comma may separate its columns or be a decimal point; write "
            "decimal points, and a heading such as hour,requests"
        )
    return [row[-1].strip() for row in rows[has_heading:]]


def _two_columns(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the first of two columns holds times such as 00:00, or counts hours."""
    hours = [_number(row[0]) for row in rows]
    numbers = [hour for hour in hours if hour is not None]
    counts = all((after - before) % 24 == 1 for before, after in pairwise(numbers))
    return len(rows[0]) == 2 and (not numbers or (len(numbers) == len(rows) and counts))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
