"""What a month costs, from the list prices and what a request takes: no I/O, no state.

A month has 730 hours, as AWS's own calculator counts. Money is US dollars. A GB of memory is 1,024
of Lambda's MB, and a GB of data 2^30 bytes. Every cost grows with traffic and is never negative;
all are continuous in it but those that count whole instances or executions, which step up there.
"""

import math
from typing import NamedTuple

HOURS_PER_MONTH = 730
SECONDS_PER_MONTH = HOURS_PER_MONTH * 3600
GB_BYTES = 2**30
MILLION = 1_000_000

# https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
LAMBDA_MB_PER_VCPU = 1769
# https://aws.amazon.com/lambda/pricing/: each month, for good
FREE_REQUESTS = 1_000_000
FREE_GB_SECONDS = 400_000


class Hours(NamedTuple):
    """So many hours of the month have this traffic."""

    hours: float
    requests_per_second: float


def gb_seconds(requests: float, memory_mb: float, billed_ms: float) -> float:
    """`billed_ms`: the mean of what is billed; AWS rounds each request up to a whole ms."""
    return requests * memory_mb / 1024 * billed_ms / 1000


def mean_billed_ms(duration_ms: float, cold_share: float, cold_ms: float) -> float:
    """A mean duration with the starts in it; `cold_share` of 1, `cold_ms` the length of a start.

    Since August 2025 the init phase is billed, too:
    https://aws.amazon.com/blogs/compute/aws-lambda-standardizes-billing-for-init-phase
    """
    return duration_ms + cold_share * cold_ms


def lambda_usd(
    requests: float,
    *,
    memory_mb: float,
    billed_ms: float,
    usd_per_million_requests: float,
    usd_per_million_gb_seconds: float,
    free_tier: bool = False,
) -> float:
    """Lambda on demand: requests and GB-seconds, at the price of the first tier."""
    used = gb_seconds(requests, memory_mb, billed_ms)
    if free_tier:
        requests, used = max(0, requests - FREE_REQUESTS), max(0, used - FREE_GB_SECONDS)
    return (requests * usd_per_million_requests + used * usd_per_million_gb_seconds) / MILLION


def kept_usd(
    executions: int, *, memory_mb: float, hours: float, usd_per_million_gb_seconds: float
) -> float:
    """Executions of Lambda that are kept warm (provisioned concurrency), called or not."""
    return executions * memory_mb / 1024 * hours * 3600 * usd_per_million_gb_seconds / MILLION


def kept_share(concurrency: float, executions: int) -> float:
    """The share of the requests, 0 to 1, that executions kept warm can take.

    `concurrency` is the mean number of requests at once: rate times duration (Little's law). The
    rest goes to executions on demand, at their price. Chance within the hour is left out.
    """
    return 1.0 if concurrency <= executions else executions / concurrency


def serverless_usd(
    requests: float, *, memory_mb: float, billed_ms: float, usd_per_million_gb_seconds: float
) -> float:
    """SageMaker Serverless Inference: GB-seconds, without the data."""
    return gb_seconds(requests, memory_mb, billed_ms) * usd_per_million_gb_seconds / MILLION


def data_usd(requests: float, *, bytes_per_request: float, usd_per_gb: float) -> float:
    """What SageMaker takes for the data that goes in and out."""
    return requests * bytes_per_request / GB_BYTES * usd_per_gb


def whole(demand: float, capacity: float, least: int = 1) -> int:
    """How many instances or executions of that capacity the demand needs."""
    return max(least, math.ceil(demand / capacity))


def instances_usd(instance_hours: float, *, usd_per_hour: float) -> float:
    """A real-time endpoint's instances, without the data."""
    return instance_hours * usd_per_hour


def lambda_ms(one_vcpu_ms: float, memory_mb: float) -> float:
    """How long a request takes at another memory size, where only one vCPU's time is known.

    Below one vCPU a request waits for its share of it; above, nothing is taken to be gained.
    """
    return one_vcpu_ms / min(1.0, memory_mb / LAMBDA_MB_PER_VCPU)


def one_vcpu_ms(duration_ms: float, memory_mb: float) -> float:
    """The other way round."""
    return duration_ms * min(1.0, memory_mb / LAMBDA_MB_PER_VCPU)
