"""Price an endpoint behind the function's URL, for all calls, a share, or the base load.

While a function waits for the endpoint, AWS bills all of its memory.
"""

import math
from dataclasses import dataclass
from functools import partial

from ops.cost import targets
from ops.cost.prices import Price, Prices, usd
from ops.cost.targets import Quote, Target
from ops.cost.workload import HOURS_PER_MONTH, RequestUsage, Traffic, average

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
            Target("realtime_shared", _KIND, share, partial(self.forwarding, percent=percent)),
            Target("realtime_by_url", _KIND, by_url, partial(self.forwarding, percent=100)),
            Target("realtime_spill", _KIND, f"{name}, peaks on Lambda", self._spill),
        ]

    @property
    def advice(self) -> str:
        """Say what forwarding costs, and when callers should call the endpoint directly."""
        each, kind = self.forwarding_usd(1e6, DOORMAN_MEMORY_MB), self.endpoint.instance_type
        equal = self.prices.usd_per_hour[kind] * HOURS_PER_MONTH / each * 1e6
        return (
            f"Forwarding a million calls by the URL costs {usd(each)}. Above {average(equal)}, "
            f"that costs as much as another {kind}: callers should call the endpoint directly."
        )

    def forwarding_usd(self, requests: float, memory_mb: int) -> float:
        """Return Lambda's price of the calls that a function of that memory forwards."""
        return targets.lambda_usd(requests, memory_mb, self.usage.vcpu_ms + FORWARD_MS, self.price)

    def forwarding(self, traffic: Traffic, percent: int, *, spill: bool = False) -> Quote:
        """Quote a month in which the endpoint answers that share of the function's calls.

        A function that forwards everything is small, unless it has to `spill`.
        """
        forwarded = traffic.requests_per_month * percent / 100
        memory_mb = self.usage.lambda_memory_mb
        how = {"mode": "both", "sagemaker_percent": percent, "lambda_memory_mb": memory_mb}
        if percent == 100:
            how = {"keep_url": "true"}
            memory_mb = memory_mb if spill else DOORMAN_MEMORY_MB
        total, runs, keys = self.endpoint.quote(traffic.scaled_to(forwarded))
        total += self.forwarding_usd(forwarded, memory_mb)
        total += self._own_usd(traffic.requests_per_month - forwarded)
        return Quote(total, runs, {**keys, **how})

    def _spill(self, traffic: Traffic) -> Quote:
        """Quote instances for the base load, with the rest of each hour's calls on Lambda.

        All calls pass a function with the model's memory. Variation within the hour is ignored.
        """
        memory_mb, kind = self.usage.lambda_memory_mb, self.endpoint.instance_type
        needed = math.ceil(traffic.peak_per_second / self.endpoint.capacity)
        enough = min(targets.MOST_INSTANCES, max(1, needed))
        total, best = min((self._usd_of_spill(n, traffic), n) for n in range(1, enough + 1))
        keys = targets.endpoint_keys(kind, best, best)
        keys |= {"keep_url": "true", "spill": "true", "lambda_memory_mb": memory_mb}
        return Quote(total, f"{best} of {enough} instances", keys)

    def _usd_of_spill(self, instances: int, traffic: Traffic) -> float:
        usage, prices = self.usage, self.prices
        taken = traffic.up_to(instances * self.endpoint.capacity)
        total = instances * prices.usd_per_hour[self.endpoint.instance_type] * HOURS_PER_MONTH
        total += targets.data_usd(taken, usage.data_bytes, prices)
        total += self.forwarding_usd(taken, usage.lambda_memory_mb)
        return total + self._own_usd(traffic.requests_per_month - taken)

    def _own_usd(self, requests: float) -> float:
        """Return Lambda's price of the calls that the function answers itself."""
        usage = self.usage
        return targets.lambda_usd(requests, usage.lambda_memory_mb, usage.billed_ms, self.price)

    @property
    def price(self) -> Price:
        return self.prices.of_lambda(targets.architecture_of(self.endpoint.instance_type))
