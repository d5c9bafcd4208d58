"""Price each target of the stack for any traffic, and name the command that deploys it.

A GB of memory is 1,024 of Lambda's MB, a GB of data 2^30 bytes.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ops.cost.prices import Prices
from ops.cost.traffic import HOURS_PER_MONTH, Traffic, rounded
from ops.cost.workload import ARM, X86, RequestUsage

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
    """Hold a month's cost (infinite for too much traffic), what runs, and the command."""

    usd_per_month: float
    runs: str
    command: str


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


def on_demand(
    usage: RequestUsage, prices: Prices, *, free_tier: bool = False, architecture: str = X86
) -> Target:
    """Return Lambda billed by the call. As for all targets here, its price must be known."""
    price = prices.of_lambda(architecture)

    def quote(traffic: Traffic) -> Quote:
        total = lambda_usd(traffic.requests_per_month, usage, price, free_tier=free_tier)
        runs = f"up to {rounded(_concurrency(traffic, usage.lambda_ms))} at once"
        return Quote(total, runs, _lambda_command(usage, architecture))

    return Target("lambda", "Lambda", lambda_name(usage.lambda_memory_mb, architecture), quote)


def provisioned_concurrency(
    usage: RequestUsage, prices: Prices, executions: int | None = None, architecture: str = X86
) -> Target:
    """Return Lambda with `executions` kept warm, by default as many as the busiest hour needs."""
    price, memory_mb = prices.of_lambda(architecture), usage.lambda_memory_mb

    def quote(traffic: Traffic) -> Quote:
        kept = executions or _whole(_concurrency(traffic, usage.lambda_ms) / UTILIZATION)
        kept_seconds = HOURS_PER_MONTH * 3600 * kept * memory_mb / 1024
        total = kept_seconds * price["kept_usd_per_million_gb_seconds"] / 1e6
        for hours, per_second in traffic.hours:
            # The share that warm executions serve; variation within the hour is ignored.
            share = min(1.0, kept / max(per_second * usage.lambda_ms / 1000, kept))
            requests = per_second * hours * 3600
            used = _gb_seconds(requests * share, memory_mb, usage.lambda_ms)
            total += used * price["kept_duration_usd_per_million_gb_seconds"] / 1e6
            total += requests * share * price["usd_per_million_requests"] / 1e6
            total += lambda_usd(requests * (1 - share), usage, price)
        command = f"{_lambda_command(usage, architecture)} -c lambda_provisioned_concurrency={kept}"
        return Quote(total, f"{kept:,} kept warm", command)

    name = f"{lambda_name(memory_mb, architecture)}, kept warm"
    return Target("lambda_kept_warm", "Lambda", name, quote)


def serverless(usage: RequestUsage, prices: Prices) -> Target:
    """Return SageMaker Serverless Inference."""

    def quote(traffic: Traffic) -> Quote:
        requests, memory_mb = traffic.requests_per_month, usage.serverless_memory_mb
        used = _gb_seconds(requests, memory_mb, usage.serverless_ms)
        total = used * prices.groups["serverless"]["usd_per_million_gb_seconds"] / 1e6
        total += data_usd(requests, usage.data_bytes, prices)
        at_once = _concurrency(traffic, usage.serverless_ms)
        runs, needed = f"up to {rounded(at_once)} at once", _whole(at_once / UTILIZATION)
        command = "cdk deploy -c mode=sagemaker -c sagemaker_type=serverless "
        command += f"-c serverless_memory_mb={memory_mb}"
        if needed > DEFAULT_SERVERLESS:
            command += f" -c serverless_max_concurrency={needed}"
        if needed > MOST_SERVERLESS:
            total, runs = math.inf, f"needs {needed:,} at once; the most is {MOST_SERVERLESS}"
        return Quote(total, runs, command)

    name = f"SageMaker serverless, {usage.serverless_memory_mb:,} MB"
    return Target("serverless", "SageMaker serverless", name, quote)


def real_time(
    usage: RequestUsage, prices: Prices, instance_type: str, capacity: float, least: int = 1
) -> Target:
    """Return a real-time endpoint, scaled each hour to the instances that its traffic needs."""
    usd_per_hour = prices.usd_per_hour[instance_type]

    def quote(traffic: Traffic) -> Quote:
        hours = traffic.hours
        if instance_type.startswith("ml.t2."):  # AWS does not scale these types
            hours = [(HOURS_PER_MONTH, traffic.peak_per_second)]
        instances = [max(least, _whole(rate / capacity)) for _, rate in hours]
        total = usd_per_hour * sum(each * n for (each, _), n in zip(hours, instances))
        total += data_usd(traffic.requests_per_month, usage.data_bytes, prices)
        low, high = min(instances), max(instances)
        runs = f"{low} to {high} instances" if low < high else f"{high} instance{'s' * (high > 1)}"
        if high > MOST_INSTANCES:
            total, runs = math.inf, f"needs {high:,} instances; the most is {MOST_INSTANCES}"
        command = "cdk deploy -c mode=sagemaker" + architecture_option(
            architecture_of(instance_type)
        )
        command += (
            f" -c instance_type={instance_type} -c min_instances={low} -c max_instances={high}"
        )
        return Quote(total, runs, command)

    name, kind = f"SageMaker {instance_type}", "SageMaker's real-time endpoint"
    return Target("realtime", kind, name, quote, instance_type, capacity)


def capacity_of(instance_type: str, vcpu_ms: float) -> float:
    """Return the requests/s that an instance serves with its vCPUs at UTILIZATION.

    The size in the type's name gives the vCPUs (https://aws.amazon.com/ec2/instance-types/). Return
    0 for burstable types, metal and types that cannot run the image.
    """
    size = re.fullmatch(r"ml\.(?!t|inf)[a-z0-9-]+\.(?:(large)|([0-9]*)xlarge)", instance_type)
    if not size or not re.fullmatch(INSTANCE_TYPE, instance_type):
        return 0.0
    vcpus = 2 if size[1] else 4 * int(size[2] or 1)
    return vcpus * UTILIZATION / (vcpu_ms / 1000)


def data_usd(requests: float, bytes_per_request: float | None, prices: Prices) -> float:
    """Return SageMaker's charge for data in and out; 0 if it is unknown."""
    usd_per_gb: float = prices.groups.get("data", {}).get("usd_per_gb", 0.0)
    return requests * (bytes_per_request or 0.0) / 2**30 * usd_per_gb


def lambda_usd(
    requests: float, usage: RequestUsage, price: Mapping[str, Any], *, free_tier: bool = False
) -> float:
    # AWS bills the init phase, too, since August 2025:
    # https://aws.amazon.com/blogs/compute/aws-lambda-standardizes-billing-for-init-phase
    billed_ms = usage.lambda_ms + usage.cold_share * usage.cold_ms
    used = _gb_seconds(requests, usage.lambda_memory_mb, billed_ms)
    if free_tier:
        requests, used = max(0, requests - FREE_REQUESTS), max(0, used - FREE_GB_SECONDS)
    by_request = requests * price["usd_per_million_requests"]
    return float(by_request + used * price["usd_per_million_gb_seconds"]) / 1e6


def architecture_option(architecture: str) -> str:
    return f" -c architecture={ARM}" if architecture == ARM else ""


def _lambda_command(usage: RequestUsage, architecture: str) -> str:
    command = f"cdk deploy -c mode=lambda{architecture_option(architecture)}"
    command += f" -c lambda_memory_mb={usage.lambda_memory_mb}"
    seconds = math.ceil(usage.lambda_ms / 1000 * _TIMEOUT_BY_MEAN)
    if seconds > DEFAULT_LAMBDA_SECONDS:
        command += f" -c lambda_timeout_seconds={min(seconds, MOST_LAMBDA_SECONDS)}"
    return command


def _gb_seconds(requests: float, memory_mb: float, milliseconds: float) -> float:
    return requests * memory_mb / 1024 * milliseconds / 1000


def _concurrency(traffic: Traffic, milliseconds: float) -> float:
    """Return the mean number of concurrent requests in the busiest hour (Little's law)."""
    return traffic.peak_per_second * milliseconds / 1000


def _whole(number: float) -> int:
    return max(1, math.ceil(number))
