"""Price an endpoint behind the function's URL, for all calls, a share, or the base load.

While a function waits for the endpoint, AWS bills all of its memory.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from ops.cost import targets
from ops.cost.prices import Prices, usd
from ops.cost.targets import Quote, Target
from ops.cost.traffic import HOURS_PER_MONTH, Traffic, average
from ops.cost.workload import RequestUsage

DOORMAN_MEMORY_MB = 512  # the memory of a function that forwards everything and loads no model
FORWARD_MS = 10.0  # the network within a region, and the function's own time
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
        return targets.architecture_of(self.endpoint.instance_type)

    @property
    def advice(self) -> str:
        """Say what forwarding costs, and when callers should call the endpoint directly."""
        each = self.forwarding_usd(1e6, DOORMAN_MEMORY_MB)
        instance = self.prices.usd_per_hour[self.endpoint.instance_type] * HOURS_PER_MONTH
        return (
            f"Forwarding a million calls by the URL costs {usd(each)}. Above "
            f"{average(instance / each * 1e6)}, that costs as much as another "
            f"{self.endpoint.instance_type}: callers should call the endpoint directly."
        )

    def forwarding_usd(self, requests: float, memory_mb: int) -> float:
        """Return Lambda's price of the calls that a function of that memory forwards."""
        waiting_ms = self.usage.vcpu_ms + FORWARD_MS
        waiting = RequestUsage(lambda_memory_mb=memory_mb, lambda_ms=waiting_ms, vcpu_ms=0.0)
        return targets.lambda_usd(requests, waiting, self.prices.of_lambda(self.architecture))

    def forwarding(self, traffic: Traffic, percent: int, *, spill: bool = False) -> Quote:
        """Quote a month in which the endpoint answers that share of the function's calls.

        A function that forwards everything is small, unless it has to `spill`.
        """
        forwarded = traffic.requests_per_month * percent / 100
        own = traffic.scaled_to(traffic.requests_per_month - forwarded)
        small = percent == 100 and not spill
        memory_mb = DOORMAN_MEMORY_MB if small else self.usage.lambda_memory_mb
        total, runs, command = self.endpoint.quote(traffic.scaled_to(forwarded))
        total += self.forwarding_usd(forwarded, memory_mb)
        on_lambda = targets.on_demand(self.usage, self.prices, architecture=self.architecture)
        total += on_lambda.usd_per_month(own)
        return Quote(total, runs, f"{command} -c keep_url=true")

    def _shared(self, traffic: Traffic, percent: int) -> Quote:
        quote = self.forwarding(traffic, percent)
        share = f"mode=both -c sagemaker_percent={percent}"
        command = quote.command.replace("mode=sagemaker", share).removesuffix(" -c keep_url=true")
        memory = f" -c lambda_memory_mb={self.usage.lambda_memory_mb}"
        return quote._replace(command=command + memory)

    def _spill(self, traffic: Traffic) -> Quote:
        """Quote instances for the base load, with the rest of each hour's calls on Lambda.

        All calls pass a function with the model's memory. Variation within the hour is ignored.
        """
        needed = math.ceil(traffic.peak_per_second / self.endpoint.capacity)
        enough = min(targets.MOST_INSTANCES, max(1, needed))
        costs = {n: self._with_instances(n, traffic.hours) for n in range(1, enough + 1)}
        instances = min(costs, key=costs.__getitem__)
        command = f"cdk deploy -c mode=sagemaker{targets.architecture_option(self.architecture)} "
        command += f"-c keep_url=true -c spill=true -c instance_type={self.endpoint.instance_type} "
        command += f"-c min_instances={instances} -c max_instances={instances} "
        command += f"-c lambda_memory_mb={self.usage.lambda_memory_mb}"
        return Quote(costs[instances], f"{instances} of {enough} instances", command)

    def _with_instances(self, instances: int, hours: Sequence[tuple[float, float]]) -> float:
        usage, prices = self.usage, self.prices
        total = instances * prices.usd_per_hour[self.endpoint.instance_type] * HOURS_PER_MONTH
        for each, rate in hours:
            taken = min(rate, instances * self.endpoint.capacity) * each * 3600
            total += self.forwarding_usd(taken, usage.lambda_memory_mb)
            total += targets.data_usd(taken, usage.data_bytes, prices)
            rest = rate * each * 3600 - taken
            total += targets.lambda_usd(rest, usage, prices.of_lambda(self.architecture))
        return total
