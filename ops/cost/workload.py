"""Describe a month's requests: their number by the hour, what each uses, where they are served."""

import csv
import os
import re
from argparse import ArgumentTypeError
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from ops.cli import number
from ops.cost import CostError

HOURS_PER_MONTH = 730  # as in AWS's calculator
SECONDS_PER_MONTH = HOURS_PER_MONTH * 3600
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
LAMBDA_MB_PER_VCPU = 1769
X86, ARM = "x86_64", "arm64"  # the values of the context key `architecture`
# The defaults of the context key `instance_type`.
DEFAULT_INSTANCES = {X86: "ml.m5.large", ARM: "ml.c7g.large"}
DEFAULT_SERVERLESS_MB = 3072  # the default of the context key `serverless_memory_mb`
MOST_REQUESTS = 1e13  # 4 million a second; more must be a typo
_in_an_hour = number(float, 0, MOST_REQUESTS, "a number of 0 or more with a decimal point")


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

    def up_to(self, per_second: float) -> float:
        """Return the requests that a capacity serves; variation within the hour is ignored."""
        return sum(min(rate, per_second) * hours * 3600 for hours, rate in self.hours)

    def scaled_to(self, requests_per_month: float) -> "Traffic":
        """Return traffic of the same shape with another number of requests."""
        return replace(self, requests_per_month=requests_per_month)


@dataclass(frozen=True, kw_only=True)
class RequestUsage:
    """Hold the mean usage of one request. The field names are those of the JSON report."""

    lambda_memory_mb: int
    lambda_ms: float  # billed, without a cold start; AWS rounds each call up to a whole ms
    serverless_memory_mb: int = 0
    serverless_ms: float = 0.0
    vcpu_ms: float  # the time that one whole vCPU of an instance spends on it
    cold_ms: float = 0.0
    cold_share: float = 0.0  # the share of Lambda's calls with a cold start, 0 to 1
    data_bytes: float | None = None  # request and response, billed by SageMaker; None if unknown

    @property
    def billed_ms(self) -> float:
        """Return Lambda's mean time with cold starts, which AWS bills since August 2025.

        https://aws.amazon.com/blogs/compute/aws-lambda-standardizes-billing-for-init-phase
        """
        return self.lambda_ms + self.cold_share * self.cold_ms


@dataclass(frozen=True)
class MemorySize:
    """Hold the timing of a Lambda memory size. The field names are those of the JSON report."""

    memory_mb: int
    billed_ms: float  # the mean
    median_ms: float
    p95_ms: float


@dataclass(frozen=True)
class Workload:
    """Hold a model's usage per request, its traffic if known, and its current target."""

    usage: RequestUsage
    traffic: Traffic | None = None
    notes: Sequence[str] = ()  # sentences that say where the figures come from
    current_target: str | None = None  # the name of the target that serves most calls now
    instance_type: str = ""  # empty: see DEFAULT_INSTANCES
    executions: int = 0  # kept warm now by provisioned concurrency
    sizes: Sequence[MemorySize] = ()
    architecture: str = X86  # of the CPU on which the times were measured
    stack_name: str = ""  # of the observed stack

    @property
    def asked(self) -> Traffic:
        """Return the traffic to compare targets at, a million requests if it is unknown."""
        return self.traffic or Traffic(1e6)


def vcpu_share(memory_mb: float) -> float:
    """Return the share of a vCPU that a memory size gets, at most 1."""
    return min(1.0, memory_mb / LAMBDA_MB_PER_VCPU)


def read_traffic(requests: float | None, profile: str | None) -> Traffic | None:
    """Return the traffic of the options, or None without both. Raise OSError and CostError.

    `profile` has numbers with commas or names a CSV file. Without `requests`, its numbers are the
    requests in each hour.
    """
    if profile is None:
        return Traffic(requests) if requests else None
    # pathlib raises an error if the name is too long.
    is_list = "," in profile and not os.path.exists(profile)  # noqa: PTH110
    cells = profile.split(",") if is_list else _last_column(Path(profile))
    try:
        weights = tuple(map(_in_an_hour, cells))
    except ArgumentTypeError as error:
        raise CostError(f"--profile: {error}") from None
    if len(weights) not in (24, 168) or not any(weights):
        must_have = "it must have 24 (the hours of a day) or 168 (of a week), and not only zeros"
        raise CostError(f"--profile has {len(weights)} numbers; {must_have}")
    if requests:
        return Traffic(requests, weights)
    for weight in weights:
        if not weight.is_integer():
            fix = "add the requests of a month with --requests"
            raise CostError(f"--profile: {weight} is not a whole number of requests; {fix}")
    return Traffic(sum(weights) / len(weights) * HOURS_PER_MONTH, weights)


def _last_column(path: Path) -> list[str]:
    """Return the last cell of each row but the heading, which several columns must have.

    Without a heading, a decimal comma could be the separator of two columns.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        delimiter = next((each for each in ";\t" if each in text), ",")
        rows = [row for row in csv.reader(text.splitlines(), delimiter=delimiter) if any(row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise CostError(f"--profile {path}: not a CSV file ({error})") from None
    has_heading = bool(rows) and not re.fullmatch("[0-9][0-9.,e+]*", rows[0][-1].strip())
    widths = {len(row) for row in rows}
    if len(widths) > 1 or not (has_heading or widths <= {1}):
        raise CostError(
            f"--profile {path}: write decimal points, no decimal commas, and name all columns in "
            "a heading, such as hour,requests"
        )
    return [row[-1] for row in rows[has_heading:]]


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
