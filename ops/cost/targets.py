"""Price each target of the stack for any traffic, and name the command that deploys it.

A GB of memory is 1,024 of Lambda's MB, a GB of data 2^30 bytes. The functions that return a target
raise CostError if it has no price, or cannot answer in time.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ops.cost import CostError
from ops.cost.prices import Price, Prices
from ops.cost.workload import ARM, HOURS_PER_MONTH, X86, RequestUsage, Traffic, rounded

# The mean utilization of instances and of executions kept warm, at which few requests wait. The
# stack scales provisioned concurrency to the same value.
UTILIZATION = 0.7
MOST_INSTANCES = 100  # the limit of the context key max_instances
# The limit and the default of the context key serverless_max_concurrency.
MOST_SERVERLESS, DEFAULT_SERVERLESS = 200, 10
# The limit and the default of the context key lambda_timeout_seconds.
MOST_LAMBDA_SECONDS, DEFAULT_LAMBDA_SECONDS = 900, 30
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
MOST_ENDPOINT_SECONDS = 60
# An alarm rolls an update back when the 99th percentile reaches half of the timeout.
_TIMEOUT_BY_MEAN = 3
INSTANCE_TYPE = r"ml\.(?!.*-gb)[a-z][a-z0-9-]*\.[a-z0-9-]+"
# The free tier of each month: https://aws.amazon.com/lambda/pricing/
FREE_REQUESTS, FREE_GB_SECONDS = 1_000_000, 400_000


class Quote(NamedTuple):
    """Hold a month's cost (infinite for too much traffic), what runs, and its context keys."""

    usd_per_month: float
    runs: str
    keys: Mapping[str, object]

    @property
    def command(self) -> str:
        """Return the command, without keys of no value and the default architecture."""
        given = (f"{key}={value}" for key, value in self.keys.items() if value not in (None, X86))
        return " -c ".join(["cdk deploy", *given])


@dataclass(frozen=True)
class Target:
    """Hold one way to serve the model. `key` names it in JSON; break-evens are between kinds."""

    key: str
    kind: str
    name: str
    quote: Callable[[Traffic], Quote]
    instance_type: str = ""
    capacity: float = 0.0  # the requests/s that one instance serves

    def usd_per_month(self, traffic: Traffic) -> float:
        return self.quote(traffic).usd_per_month


def architecture_of(instance_type: str) -> str:
    """Return the architecture of a type: Arm families have a g after their number."""
    return ARM if re.match(r"ml\.[a-z]+[0-9]+g", instance_type) else X86


def lambda_name(memory_mb: int, architecture: str) -> str:
    return f"Lambda{' arm64' * (architecture == ARM)}, {memory_mb:,} MB"


def on_lambda(
    usage: RequestUsage,
    prices: Prices,
    architecture: str = X86,
    *,
    kept_warm: int | None = 0,
    free_tier: bool = False,
) -> Target:
    """Return Lambda with `kept_warm` executions, or as many as the busiest hour needs if None.

    They serve what they can; other calls are on demand.
    """
    price, memory_mb = prices.of_lambda(architecture), usage.lambda_memory_mb
    name = lambda_name(memory_mb, architecture)
    _check(name, prices, price, usage.lambda_ms, MOST_LAMBDA_SECONDS)
    duration = {"usd_per_million_gb_seconds": price["kept_duration_usd_per_million_gb_seconds"]}

    def quote(traffic: Traffic) -> Quote:
        at_once = _concurrency(traffic, usage.lambda_ms)
        kept = _whole(at_once / UTILIZATION) if kept_warm is None else kept_warm
        warm = traffic.up_to(kept / usage.lambda_ms * 1000)
        others = max(0.0, traffic.requests_per_month - warm)
        total = lambda_usd(warm, memory_mb, usage.lambda_ms, {**price, **duration})
        total += lambda_usd(others, memory_mb, usage.billed_ms, price, free_tier=free_tier)
        kept_seconds = HOURS_PER_MONTH * 3600 * kept * memory_mb / 1024
        total += kept_seconds * price["kept_usd_per_million_gb_seconds"] / 1e6
        runs = f"{kept:,} kept warm" if kept else f"up to {rounded(at_once)} at once"
        seconds = min(math.ceil(usage.lambda_ms / 1000 * _TIMEOUT_BY_MEAN), MOST_LAMBDA_SECONDS)
        keys = {
            "mode": "lambda",
            "architecture": architecture,
            "lambda_memory_mb": memory_mb,
            "lambda_timeout_seconds": seconds if seconds > DEFAULT_LAMBDA_SECONDS else None,
            "lambda_provisioned_concurrency": kept or None,
        }
        return Quote(total, runs, keys)

    if kept_warm == 0:
        return Target("lambda", "Lambda", name, quote)
    return Target("lambda_kept_warm", "Lambda", f"{name}, kept warm", quote)


def serverless(usage: RequestUsage, prices: Prices) -> Target:
    """Return SageMaker Serverless Inference."""
    kind, memory_mb = "SageMaker serverless", usage.serverless_memory_mb
    price: float = prices.groups.get("serverless", {}).get("usd_per_million_gb_seconds", 0.0)
    _check(kind, prices, price, usage.serverless_ms, MOST_ENDPOINT_SECONDS)

    def quote(traffic: Traffic) -> Quote:
        requests = traffic.requests_per_month
        total = _gb_seconds(requests, memory_mb, usage.serverless_ms) * price / 1e6
        total += data_usd(requests, usage.data_bytes, prices)
        at_once = _concurrency(traffic, usage.serverless_ms)
        runs, needed = f"up to {rounded(at_once)} at once", _whole(at_once / UTILIZATION)
        if needed > MOST_SERVERLESS:
            total, runs = math.inf, f"needs {needed:,} at once; the most is {MOST_SERVERLESS}"
        keys = {
            "mode": "sagemaker",
            "sagemaker_type": "serverless",
            "serverless_memory_mb": memory_mb,
            "serverless_max_concurrency": needed if needed > DEFAULT_SERVERLESS else None,
        }
        return Quote(total, runs, keys)

    return Target("serverless", kind, f"{kind}, {memory_mb:,} MB", quote)


def real_time(
    usage: RequestUsage, prices: Prices, kind: str, rate: float | None = None, least: int = 1
) -> Target:
    """Return a real-time endpoint, scaled each hour to the instances that its traffic needs.

    An instance serves `rate` requests/s; if that is unknown, its vCPUs are as fast as measured.
    """
    usd_per_hour = prices.usd_per_hour.get(kind, 0.0)
    _check(kind, prices, usd_per_hour, 0.0 if rate else usage.vcpu_ms, MOST_ENDPOINT_SECONDS)
    if not (capacity := rate or capacity_of(kind, usage.vcpu_ms)):
        fix = f"`python -m ops cost --instance {kind}=REQUESTS_PER_SECOND` takes yours"
        raise CostError(f"the capacity of {kind} is unknown; {fix}")

    def quote(traffic: Traffic) -> Quote:
        hours = traffic.hours
        if kind.startswith("ml.t2."):  # AWS does not scale these types
            hours = [(HOURS_PER_MONTH, traffic.peak_per_second)]
        instances = [max(least, _whole(rate / capacity)) for _, rate in hours]
        total = usd_per_hour * sum(each * n for (each, _), n in zip(hours, instances))
        total += data_usd(traffic.requests_per_month, usage.data_bytes, prices)
        low, high = min(instances), max(instances)
        runs = f"{low} to {high} instances" if low < high else f"{high} instance{'s' * (high > 1)}"
        if high > MOST_INSTANCES:
            total, runs = math.inf, f"needs {high:,} instances; the most is {MOST_INSTANCES}"
        return Quote(total, runs, endpoint_keys(kind, low, high))

    name = f"SageMaker {kind}"
    return Target("realtime", "SageMaker's real-time endpoint", name, quote, kind, capacity)


def capacity_of(instance_type: str, vcpu_ms: float) -> float:
    """Return the requests/s that an instance serves with its vCPUs at UTILIZATION.

    The size in the type's name gives the vCPUs (https://aws.amazon.com/ec2/instance-types/). Return
    0 for burstable types, metal and types that cannot run the image.
    """
    size = re.fullmatch(r"ml\.(?!t|inf|.*-gb)[a-z0-9-]+\.(?:(large)|([0-9]*)xlarge)", instance_type)
    if not size:
        return 0.0
    vcpus = 2 if size[1] else 4 * int(size[2] or 1)
    return vcpus * UTILIZATION / (vcpu_ms / 1000)


def data_usd(requests: float, bytes_per_request: float | None, prices: Prices) -> float:
    """Return SageMaker's charge for data in and out; 0 if it is unknown."""
    usd_per_gb: float = prices.groups.get("data", {}).get("usd_per_gb", 0.0)
    return requests * (bytes_per_request or 0.0) / 2**30 * usd_per_gb


def lambda_usd(
    requests: float, memory_mb: int, billed_ms: float, price: Price, *, free_tier: bool = False
) -> float:
    used = _gb_seconds(requests, memory_mb, billed_ms)
    if free_tier:
        requests, used = max(0, requests - FREE_REQUESTS), max(0, used - FREE_GB_SECONDS)
    by_request = requests * price["usd_per_million_requests"]
    return float(by_request + used * price["usd_per_million_gb_seconds"]) / 1e6


def endpoint_keys(instance_type: str, low: int, high: int) -> dict[str, object]:
    """Return the context keys of a real-time endpoint with that number of instances."""
    scaling = {"instance_type": instance_type, "min_instances": low, "max_instances": high}
    return {"mode": "sagemaker", "architecture": architecture_of(instance_type), **scaling}


def _check(what: str, prices: Prices, price: object, milliseconds: float, most: int) -> None:
    """Raise CostError if the target has no price, or takes longer than its `most` seconds."""
    if not price:
        raise CostError(prices.lacks(what))
    if milliseconds > most * 1000:
        seconds = f"{milliseconds / 1000:,.0f} s there; the limit is {most} s"
        more = "; sagemaker_type=async allows more" * (most == MOST_ENDPOINT_SECONDS)
        raise CostError(f"{what} is left out: a request would take {seconds}{more}")


def _gb_seconds(requests: float, memory_mb: float, milliseconds: float) -> float:
    return requests * memory_mb / 1024 * milliseconds / 1000


def _concurrency(traffic: Traffic, milliseconds: float) -> float:
    """Return the mean number of concurrent requests in the busiest hour (Little's law)."""
    return traffic.peak_per_second * milliseconds / 1000


def _whole(number: float) -> int:
    return max(1, math.ceil(number))
