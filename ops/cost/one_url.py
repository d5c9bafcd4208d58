"""Price the function's URL as the address of an endpoint: all calls forwarded, a share, or spill.

A function is billed while it waits for the endpoint, with the memory that it has.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from ops.cost.prices import Prices, usd
from ops.cost.targets import (
    MOST_INSTANCES,
    Quote,
    Target,
    architecture_of,
    architecture_option,
    data_usd,
    lambda_usd,
    on_demand,
)
from ops.cost.traffic import HOURS_PER_MONTH, SECONDS_PER_MONTH, Traffic, count, rounded
from ops.cost.workload import RequestUsage

# A function that forwards everything loads no model: the stack gives it so much memory.
DOORMAN_MEMORY_MB = 512
# The way from the function to the endpoint and back within a region, and the function's own time.
FORWARD_MS = 10.0
_KIND = "the function's URL, forwarding"


@dataclass(frozen=True)
class OneUrl:
    """A real-time endpoint behind the function's URL."""

    usage: RequestUsage
    prices: Prices
    endpoint: Target

    def targets(self, percent: int) -> list[Target]:
        """Return the endpoint with that share of the URL's calls, with all, and with spill."""
        name = self.endpoint.name
        share, by_url = f"{percent} % {name}, the rest Lambda", f"{name}, by the URL"

        return [
            Target("realtime_shared", _KIND, share, partial(self._shared, percent=percent)),
            Target("realtime_by_url", _KIND, by_url, partial(self.forwarding, percent=100)),
            Target("realtime_spill", _KIND, f"{name}, peaks on Lambda", self._spill),
        ]

    @property
    def architecture(self) -> str:
        """Return the architecture of the one image that both run."""
        return architecture_of(self.endpoint.instance_type)

    @property
    def advice(self) -> str:
        """Say what the URL takes for its calls, and when callers should do without it."""
        each = self.forwarding_usd(1e6, DOORMAN_MEMORY_MB)
        instance = self.prices.usd_per_hour[self.endpoint.instance_type] * HOURS_PER_MONTH
        requests = instance / each * 1e6
        return (
            f"The URL takes {usd(each)} for a million calls that it forwards. Above "
            f"{rounded(requests / SECONDS_PER_MONTH)} requests/s on average ({count(requests)} a "
            f"month), that costs as much as another {self.endpoint.instance_type}: callers should "
            "sign for sagemaker-runtime themselves."
        )

    def forwarding_usd(self, requests: float, memory_mb: int) -> float:
        """Return what Lambda takes for calls that a function of that memory forwards."""
        waiting_ms = self.usage.vcpu_ms + FORWARD_MS
        waiting = RequestUsage(lambda_memory_mb=memory_mb, lambda_ms=waiting_ms, vcpu_ms=0.0)
        return lambda_usd(requests, waiting, self.prices.of_lambda(self.architecture))

    def forwarding(self, traffic: Traffic, percent: int, *, spill: bool = False) -> Quote:
        """Quote a month in which the endpoint answers that share of the function's calls.

        Without `spill`, a function that forwards everything is a small one.
        """
        forwarded = traffic.requests_per_month * percent / 100
        own = traffic.scaled_to(traffic.requests_per_month - forwarded)
        small = percent == 100 and not spill
        memory_mb = DOORMAN_MEMORY_MB if small else self.usage.lambda_memory_mb
        total, runs, command = self.endpoint.quote(traffic.scaled_to(forwarded))
        total += self.forwarding_usd(forwarded, memory_mb)
        on_lambda = on_demand(self.usage, self.prices, architecture=self.architecture)
        total += on_lambda.usd_per_month(own)
        return Quote(total, runs, f"{command} -c keep_url=true")

    def _shared(self, traffic: Traffic, percent: int) -> Quote:
        quote = self.forwarding(traffic, percent)
        share = f"mode=both -c sagemaker_percent={percent}"
        command = quote.command.replace("mode=sagemaker", share).removesuffix(" -c keep_url=true")
        command += f" -c lambda_memory_mb={self.usage.lambda_memory_mb}"
        return quote._replace(command=command)

    def _spill(self, traffic: Traffic) -> Quote:
        """Quote instances for the base load, with the rest of each hour's calls on Lambda.

        Every call waits in a function with the model's memory. Chance within the hour is left out.
        """
        enough = min(
            MOST_INSTANCES, max(1, math.ceil(traffic.peak_per_second / self.endpoint.capacity))
        )
        costs = {n: self._with_instances(n, traffic.hours) for n in range(1, enough + 1)}
        instances = min(costs, key=costs.__getitem__)
        command = f"cdk deploy -c mode=sagemaker{architecture_option(self.architecture)} "
        command += "-c keep_url=true -c spill=true "
        command += f"-c instance_type={self.endpoint.instance_type} "
        command += f"-c min_instances={instances} -c max_instances={instances} "
        command += f"-c lambda_memory_mb={self.usage.lambda_memory_mb}"
        return Quote(costs[instances], f"{instances} of {enough} instances", command)

    def _with_instances(self, instances: int, hours: Sequence[tuple[float, float]]) -> float:
        usage, prices = self.usage, self.prices
        total = instances * prices.usd_per_hour[self.endpoint.instance_type] * HOURS_PER_MONTH
        for each, rate in hours:
            taken = min(rate, instances * self.endpoint.capacity) * each * 3600
            total += self.forwarding_usd(taken, usage.lambda_memory_mb)
            total += data_usd(taken, usage.data_bytes, prices)
            rest = rate * each * 3600 - taken
            total += lambda_usd(rest, usage, prices.of_lambda(self.architecture))
        return total
