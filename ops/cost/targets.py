"""The targets of the stack: what each costs at any traffic, and the command that deploys it."""

import math
import re
from dataclasses import dataclass
from typing import Protocol

from ops.cost import arithmetic
from ops.cost.arithmetic import HOURS_PER_MONTH
from ops.cost.prices import GB, GB_SECONDS, KEPT, KEPT_DURATION, REQUESTS, Prices
from ops.cost.traffic import Traffic
from ops.cost.words import rounded

# How full instances and executions kept warm may be on average, so that most requests do not wait:
# what the stack's scaling of provisioned concurrency aims at, too.
UTILIZATION = 0.7
# The limits of context keys: max_instances, serverless_max_concurrency.
MOST_INSTANCES = 100
MOST_SERVERLESS = 200
DEFAULT_SERVERLESS = 10


@dataclass(frozen=True)
class Work:
    """What one request takes, on average."""

    lambda_memory_mb: int
    lambda_ms: float
    """Billed, of a call that does not start an execution."""
    serverless_memory_mb: int
    serverless_ms: float
    vcpu_ms: float
    """Of one whole vCPU: what an instance spends on it."""
    cold_ms: float = 0.0
    cold_share: float = 0.0
    data_bytes: float | None = None
    """In and out, which SageMaker takes money for; None where it is not known."""


class Target(Protocol):
    @property
    def key(self) -> str:
        """One word, for JSON."""
        ...

    @property
    def kind(self) -> str:
        """What breaks even: a function, a serverless endpoint, instances."""
        ...

    @property
    def name(self) -> str: ...

    def usd_per_month(self, traffic: Traffic) -> float:
        """Infinite where the target cannot take that much."""
        ...

    def remark(self, traffic: Traffic) -> str:
        """How much of it runs."""
        ...

    def command(self, traffic: Traffic) -> str:
        """What makes the stack so."""
        ...


@dataclass(frozen=True)
class OnDemand:
    """Lambda, billed by the call."""

    work: Work
    prices: Prices
    free_tier: bool = False
    key: str = "lambda"
    kind: str = "lambda"

    @property
    def name(self) -> str:
        return f"Lambda, {self.work.lambda_memory_mb:,} MB"

    def usd_per_month(self, traffic: Traffic) -> float:
        work = self.work
        return arithmetic.lambda_usd(
            traffic.requests_per_month,
            memory_mb=work.lambda_memory_mb,
            billed_ms=arithmetic.mean_billed_ms(work.lambda_ms, work.cold_share, work.cold_ms),
            usd_per_million_requests=self.prices.on_lambda[REQUESTS],
            usd_per_million_gb_seconds=self.prices.on_lambda[GB_SECONDS],
            free_tier=self.free_tier,
        )

    def remark(self, traffic: Traffic) -> str:
        return f"up to {rounded(_at_once(traffic, self.work.lambda_ms))} at once"

    def command(self, traffic: Traffic) -> str:  # noqa: ARG002 - the same for all
        return f"cdk deploy -c mode=lambda -c lambda_memory_mb={self.work.lambda_memory_mb}"


@dataclass(frozen=True)
class KeptWarm:
    """Lambda with provisioned concurrency, the same number all month; what is more runs on demand.

    `executions` is None for as many as the busiest hour needs.
    """

    work: Work
    prices: Prices
    executions: int | None = None
    key: str = "lambda_kept_warm"
    kind: str = "lambda"

    @property
    def name(self) -> str:
        return f"{OnDemand(self.work, self.prices).name}, kept warm"

    def usd_per_month(self, traffic: Traffic) -> float:
        work, asks = self.work, self.prices.on_lambda
        kept = self._executions(traffic)
        total = arithmetic.kept_usd(
            kept,
            memory_mb=work.lambda_memory_mb,
            hours=HOURS_PER_MONTH,
            usd_per_million_gb_seconds=asks[KEPT],
        )
        for hours, per_second in traffic.hours:
            share = arithmetic.kept_share(per_second * work.lambda_ms / 1000, kept)
            requests = per_second * hours * 3600
            total += arithmetic.lambda_usd(
                requests * share,
                memory_mb=work.lambda_memory_mb,
                billed_ms=work.lambda_ms,
                usd_per_million_requests=asks[REQUESTS],
                usd_per_million_gb_seconds=asks[KEPT_DURATION],
            )
            rest = OnDemand(work, self.prices)
            total += rest.usd_per_month(Traffic(requests * (1 - share)))
        return total

    def remark(self, traffic: Traffic) -> str:
        return f"{self._executions(traffic):,} kept warm"

    def command(self, traffic: Traffic) -> str:
        base = OnDemand(self.work, self.prices).command(traffic)
        return f"{base} -c lambda_provisioned_concurrency={self._executions(traffic)}"

    def _executions(self, traffic: Traffic) -> int:
        at_once = _at_once(traffic, self.work.lambda_ms)
        return self.executions or arithmetic.whole(at_once, UTILIZATION)


@dataclass(frozen=True)
class Serverless:
    """SageMaker Serverless Inference."""

    work: Work
    prices: Prices
    key: str = "serverless"
    kind: str = "serverless"

    @property
    def name(self) -> str:
        return f"SageMaker serverless, {self.work.serverless_memory_mb:,} MB"

    def usd_per_month(self, traffic: Traffic) -> float:
        if self._executions(traffic) > MOST_SERVERLESS:
            return math.inf
        computed = arithmetic.serverless_usd(
            traffic.requests_per_month,
            memory_mb=self.work.serverless_memory_mb,
            billed_ms=self.work.serverless_ms,
            usd_per_million_gb_seconds=self.prices.serverless[GB_SECONDS],
        )
        return computed + _data_usd(traffic, self.work, self.prices)

    def remark(self, traffic: Traffic) -> str:
        needed = self._executions(traffic)
        if needed > MOST_SERVERLESS:
            return f"needs {needed:,} at once; the most is {MOST_SERVERLESS}"
        return f"up to {rounded(_at_once(traffic, self.work.serverless_ms))} at once"

    def command(self, traffic: Traffic) -> str:
        said = "cdk deploy -c mode=sagemaker -c sagemaker_type=serverless "
        said += f"-c serverless_memory_mb={self.work.serverless_memory_mb}"
        needed = self._executions(traffic)
        most = f" -c serverless_max_concurrency={needed}"
        return said + (most if needed > DEFAULT_SERVERLESS else "")

    def _executions(self, traffic: Traffic) -> int:
        return arithmetic.whole(_at_once(traffic, self.work.serverless_ms), UTILIZATION)


@dataclass(frozen=True)
class RealTime:
    """A real-time endpoint, scaled each hour to the instances that its traffic needs."""

    work: Work
    prices: Prices
    instance_type: str
    capacity_per_second: float
    """Requests that one instance is to take."""
    least: int = 1
    key: str = "realtime"
    kind: str = "realtime"

    @property
    def name(self) -> str:
        return f"SageMaker {self.instance_type}"

    def usd_per_month(self, traffic: Traffic) -> float:
        if max(self._instances(traffic)) > MOST_INSTANCES:
            return math.inf
        each = zip(traffic.hours, self._instances(traffic))
        total = arithmetic.instances_usd(
            sum(hours.hours * instances for hours, instances in each),
            usd_per_hour=self.prices.per_hour[self.instance_type],
        )
        return total + _data_usd(traffic, self.work, self.prices)

    def remark(self, traffic: Traffic) -> str:
        low, high = min(self._instances(traffic)), max(self._instances(traffic))
        if high > MOST_INSTANCES:
            return f"needs {high:,} instances; the most is {MOST_INSTANCES}"
        if low == high:
            return f"{high} instance" + ("s" if high > 1 else "")
        return f"{low} to {high} instances"

    def command(self, traffic: Traffic) -> str:
        low, high = min(self._instances(traffic)), max(self._instances(traffic))
        return (
            f"cdk deploy -c mode=sagemaker -c instance_type={self.instance_type} "
            f"-c min_instances={low} -c max_instances={high}"
        )

    def _instances(self, traffic: Traffic) -> list[int]:
        # AWS does not scale ml.t2: as many all month as the busiest hour needs.
        rates = [hours.requests_per_second for hours in traffic.hours]
        if self.instance_type.startswith("ml.t2."):
            rates = [traffic.peak_per_second] * len(rates)
        return [arithmetic.whole(rate, self.capacity_per_second, self.least) for rate in rates]


def vcpus(instance_type: str) -> int | None:
    """By the size in its name; None for one whose CPUs cannot be counted on (burstable, metal).

    https://aws.amazon.com/ec2/instance-types/
    """
    found = re.fullmatch(r"ml\.(?!t)[a-z0-9-]+\.(?:(large)|([0-9]*)xlarge)", instance_type)
    if not found:
        return None
    return 2 if found[1] else 4 * int(found[2] or 1)


def capacity_per_second(instance_type: str, vcpu_ms: float) -> float | None:
    """Requests that an instance may take: its vCPUs, as full as UTILIZATION."""
    cpus = vcpus(instance_type)
    return cpus * UTILIZATION / (vcpu_ms / 1000) if cpus else None


def _at_once(traffic: Traffic, milliseconds: float) -> float:
    """The mean number of requests at once in the busiest hour (Little's law)."""
    return traffic.peak_per_second * milliseconds / 1000


def _data_usd(traffic: Traffic, work: Work, prices: Prices) -> float:
    if not prices.data:
        return 0.0
    return arithmetic.data_usd(
        traffic.requests_per_month,
        bytes_per_request=work.data_bytes or 0.0,
        usd_per_gb=prices.data[GB],
    )
