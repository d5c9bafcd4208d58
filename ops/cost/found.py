"""What is known before anything is priced: the model, its traffic, the operator's wishes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ops.cost.arithmetic import lambda_usd
from ops.cost.prices import GB_SECONDS, REQUESTS, Prices
from ops.cost.targets import Work
from ops.cost.traffic import Traffic

DEFAULT_INSTANCE = "ml.m5.large"  # the default of the context key `instance_type`


class FindingError(Exception):
    """What a request takes could not be found out: why, in one line, and what to do."""


@dataclass(frozen=True)
class Size:
    """A memory size of Lambda's that was tried: `billed_ms` is a mean, the others percentiles."""

    memory_mb: int
    billed_ms: float
    median_ms: float
    p95_ms: float

    def usd_per_million(self, prices: Prices) -> float:
        """A million requests without a start; not a number where Lambda's price is not known."""
        asks = prices.on_lambda or {REQUESTS: math.nan, GB_SECONDS: math.nan}
        return lambda_usd(
            1e6,
            memory_mb=self.memory_mb,
            billed_ms=self.billed_ms,
            usd_per_million_requests=asks[REQUESTS],
            usd_per_million_gb_seconds=asks[GB_SECONDS],
        )


@dataclass(frozen=True)
class Found:
    """What a source says of the model and its traffic; `notes` say how it was found."""

    work: Work
    traffic: Traffic | None = None
    notes: Sequence[str] = ()
    current: str | None = None
    """The name of the target that serves now."""
    instance_type: str = DEFAULT_INSTANCE
    executions: int | None = None
    """Kept warm now."""
    sizes: Sequence[Size] = ()


@dataclass(frozen=True)
class Choices:
    """What the operator wants compared."""

    instances: Mapping[str, float | None] = field(default_factory=dict)
    """Instance types, with the requests a second that one takes where they are known."""
    least: int = 1
    executions: int | None = None
    """Of Lambda, kept warm; None for those of now, or as many as the traffic needs."""
    free_tier: bool = False
