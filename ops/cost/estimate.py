"""Compare the targets that have prices, find the break-evens, and advise."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from ops.cost import targets
from ops.cost.one_url import OneUrl
from ops.cost.prices import Prices, usd
from ops.cost.targets import Target
from ops.cost.traffic import SECONDS_PER_MONTH, Traffic, average
from ops.cost.workload import ARM, DEFAULT_INSTANCES, X86, RequestUsage, Workload

LEFT_OUT = (
    "data transfer out of AWS",
    "logs, metrics and alarms",
    "the examiner, about $1 with mode=both",
    "the image's storage in ECR",
    "Savings Plans, and Lambda's tiers above the first",
    "instances that scaling starts or stops late",
)
LOWEST, HIGHEST = 1e3, 1e10  # requests a month
_STEPS = 400  # the search misses two break-evens less than 4 % apart
_EXACT = 1 + 1e-9
_EQUAL = 1 + 1e-6  # smaller differences come from rounding


@dataclass(frozen=True)
class BreakEven:
    """`before` is the cheapest target below `requests_per_month`, `after` from there on."""

    requests_per_month: float
    before: Target
    after: Target
    is_a_limit: bool  # `before` would still be cheaper, but cannot serve more

    @property
    def sentence(self) -> str:
        rate = average(self.requests_per_month)
        if self.is_a_limit:
            return f"Above {rate}, {self.before.name} exceeds the stack's limits."
        return f"{self.before.name} is cheaper below {rate}, {self.after.name} above."


def cheapest(targets: Sequence[Target], traffic: Traffic) -> Target:
    """Return the first target with the lowest cost."""
    return min(targets, key=lambda target: target.usd_per_month(traffic))


def break_evens(targets: Sequence[Target], traffic: Traffic) -> Iterator[BreakEven]:
    """Yield the break-evens from LOWEST to HIGHEST for traffic of that shape.

    A change within a kind (another instance type, executions kept warm) is not a break-even.
    """

    def best(requests: float, kind: str) -> Target:
        """Return the cheapest target, preferring `kind` among equals."""
        asked = traffic.scaled_to(requests)
        most = cheapest(targets, asked).usd_per_month(asked) * _EQUAL
        equal = [target for target in targets if target.usd_per_month(asked) <= most]
        return cheapest([each for each in equal if each.kind == kind] or equal, asked)

    ratio = (HIGHEST / LOWEST) ** (1 / _STEPS)
    left, before = LOWEST, best(LOWEST, "")
    for step in range(1, _STEPS + 1):
        right = LOWEST * ratio**step
        while best(right, before.kind).kind != before.kind:
            low, high = left, right
            while high > low * _EXACT:
                middle = (low * high) ** 0.5
                stays = best(middle, before.kind).kind == before.kind
                low, high = (middle, high) if stays else (low, middle)
            left, before, after = high, best(low, before.kind), best(high, "")
            is_a_limit = math.isinf(before.usd_per_month(traffic.scaled_to(high)))
            yield BreakEven(high, before, after, is_a_limit)
            before = after
        left = right


@dataclass(frozen=True)
class Estimate:
    """Hold the compared targets, and sentences about what is missing."""

    workload: Workload
    prices: Prices
    targets: Sequence[Target]
    missing: Sequence[str]
    left_out: Sequence[str]  # of the bill
    forwarding: str = ""  # what forwarding by the function's URL costs
    not_measured: Sequence[Target] = ()  # targets of the other architecture

    @property
    def traffic(self) -> Traffic | None:
        return self.workload.traffic

    @property
    def ranked(self) -> Sequence[Target]:
        """Return the targets, cheapest first if the traffic is known."""
        if (traffic := self.traffic) is None:
            return self.targets
        return sorted(self.targets, key=lambda target: target.usd_per_month(traffic))

    @property
    def assumption(self) -> str:
        """Say what the costs of the other architecture assume; empty without any."""
        if not self.not_measured:
            return ""
        traffic = self.traffic or Traffic(1e6)
        best = cheapest(self.not_measured, traffic)
        month = "a month" if self.traffic else "for a million requests"
        where = "Graviton" if self.workload.architecture == X86 else "x86-64"
        date = self.prices.dates.get("lambda_arm64")
        source = f" (Lambda arm64: list prices of {date})" if date else ""
        costs = f"{best.name} costs {usd(best.usd_per_month(traffic))} {month}{source}"
        return f"* Not measured on {where}. If a request takes as long there, {costs}."

    @cached_property
    def break_evens(self) -> Sequence[BreakEven]:
        shape = self.traffic or Traffic(1.0)
        return [*break_evens(self.targets, shape)] if self.targets else []

    @property
    def best(self) -> Target | None:
        """Return the cheapest target; None if the traffic is unknown or too much for all."""
        if not self.traffic or not self.targets:
            return None
        found = self.ranked[0]
        return None if math.isinf(found.usd_per_month(self.traffic)) else found

    @property
    def turning_point(self) -> str:
        """Say at which traffic the cheapest kind changes."""
        if not self.targets:
            return "There is nothing to compare."
        if not self.break_evens:
            only = cheapest(self.targets, Traffic(1.0)).kind
            if len({target.kind for target in self.targets}) == 1:
                return f"Only {only} could be compared."
            most = HIGHEST / SECONDS_PER_MONTH
            return f"{only} is the cheapest at any traffic up to {most:,.0f} requests/s."
        first, last = self.break_evens[0], self.break_evens[-1]
        if first is last or last.is_a_limit:
            return first.sentence
        rate = average(last.requests_per_month)
        return f"{first.sentence} Above {rate}, {last.after.name} stays the cheapest."

    @property
    def advice(self) -> str:
        """Name the cheapest target; without traffic, return the turning point."""
        traffic, best, current = self.traffic, self.best, self.workload.current_target
        if traffic is None or not self.targets:
            return self.turning_point
        if best is None:
            return "No target can serve that much traffic within the stack's limits."
        costs = best.usd_per_month(traffic)
        said = f"At {traffic.mean_per_second:,.3g} requests/s on average, {best.name}"
        now = [target for target in self.targets if target.name == current]
        others = now or [target for target in self.targets if target.kind != best.kind]
        if not others:
            return f"{said} costs {usd(costs)} a month. {self.turning_point}"
        said += f" is the cheapest: {usd(costs)} a month"
        if best.name == current:
            return f"{said}, and the stack already uses it."
        other = cheapest(others, traffic)
        saved = usd(other.usd_per_month(traffic) - costs)
        return f"{said}, {saved} less than {other.name}{', where the stack is now' if now else ''}."

    @property
    def command(self) -> str | None:
        """Return the command that deploys the cheapest target; None if nothing has to change."""
        best = self.best
        if best is None or self.traffic is None or best.name == self.workload.current_target:
            return None
        return best.quote(self.traffic).command + self.workload.deploy_options


def estimate(
    workload: Workload,
    prices: Prices,
    instances: Mapping[str, float | None] = MappingProxyType({}),
    *,
    least_instances: int = 1,
    executions: int | None = None,
    free_tier: bool = False,
    forwarded_percent: int | None = None,
) -> Estimate:
    """Compare Lambda, serverless endpoints and `instances` (type: requests/s that one serves).

    Without `instances`, compare the workload's own type and the cheapest. `executions` is the
    provisioned concurrency: by default the present one, or as much as the traffic needs. With
    `forwarded_percent`, also compare the cheapest endpoint behind the function's URL.
    """
    usage, per_hour, own = workload.usage, prices.usd_per_hour, workload.architecture
    by_cpu: dict[str, list[Target]] = {own: [], X86 if own == ARM else ARM: []}
    compared, not_measured = by_cpu.values()
    missing: list[str] = []

    def can_run(
        what: str, milliseconds: float, most_seconds: int, *, has_price: bool, advice: str = ""
    ) -> bool:
        """Return whether the target has a price and answers in time; add to `missing` if not."""
        ends_in_time = milliseconds <= most_seconds * 1000
        if not has_price:
            refresh = "--refresh reads it from AWS, --prices names another file"
            missing.append(f"no price for {what} in {prices.region} in this file: {refresh}")
        elif not ends_in_time:
            seconds = f"{milliseconds / 1000:,.0f} s there; the limit is {most_seconds} s"
            missing.append(f"{what} is left out: a request would take {seconds}{advice}")
        return has_price and ends_in_time

    kept = executions or workload.executions
    for cpu, found in by_cpu.items():
        if cpu != own and not compared:
            break  # `missing` has the reason
        most, has_price = targets.MOST_LAMBDA_SECONDS, bool(prices.of_lambda(cpu))
        if can_run(f"Lambda{' arm64' * (cpu == ARM)}", usage.lambda_ms, most, has_price=has_price):
            found.append(targets.on_demand(usage, prices, free_tier=free_tier, architecture=cpu))
            found.append(targets.provisioned_concurrency(usage, prices, kept, cpu))
    most, has_price = targets.MOST_ENDPOINT_SECONDS, "serverless" in prices.groups
    if can_run("SageMaker serverless", usage.serverless_ms, most, has_price=has_price):
        by_cpu[X86].append(targets.serverless(usage, prices))
    default = workload.instance_type or DEFAULT_INSTANCES[own]
    for kind, rate in (instances or {default: None}).items():
        capacity = rate or targets.capacity_of(kind, usage.vcpu_ms)
        vcpu_ms = 0.0 if rate else usage.vcpu_ms  # an instance with a rate may be faster
        advice = "; sagemaker_type=async allows more"
        if kind in per_hour and not capacity:
            missing.append(
                f"--instance {kind}=REQUESTS_PER_SECOND is needed: its capacity is unknown"
            )
        elif can_run(kind, vcpu_ms, most, has_price=kind in per_hour, advice=advice):
            cpu = own if rate else targets.architecture_of(kind)
            by_cpu[cpu].append(targets.real_time(usage, prices, kind, capacity, least_instances))
    if not instances and usage.vcpu_ms <= most * 1000:
        for cpu, found in by_cpu.items():
            best = _cheapest_instance(workload, prices, cpu, least_instances)
            if best and best.name not in {target.name for target in found}:
                found.append(best)
    left_out = [] if free_tier else ["Lambda's free tier (--free-tier)"]
    data_left_out, hints = _unknown_data(usage, prices)
    missing += hints
    left_out += [*data_left_out, *LEFT_OUT]
    forwarding = ""
    endpoints = [target for target in compared if target.instance_type]
    if forwarded_percent and endpoints:
        one_url = OneUrl(usage, prices, cheapest(endpoints, workload.traffic or Traffic(1e6)))
        if prices.of_lambda(one_url.architecture):
            compared += one_url.targets(forwarded_percent)
            forwarding = one_url.advice
    return Estimate(workload, prices, compared, missing, left_out, forwarding, not_measured)


def _unknown_data(usage: RequestUsage, prices: Prices) -> tuple[list[str], list[str]]:
    """Return the charges for data that are left out, and how to count them."""
    if "data" not in prices.groups:
        return [f"data in and out of SageMaker (no price in {prices.region})"], []
    if usage.data_bytes is not None:
        return [], []
    each = usd(targets.data_usd(1e6, 10 * 1024, prices))
    hint = "SageMaker's charge for data in and out is not counted: --data-kb adds it"
    return ["data in and out of SageMaker"], [f"{hint} (10 KB a request: {each} a million)"]


def _cheapest_instance(
    workload: Workload, prices: Prices, architecture: str, least_instances: int
) -> Target | None:
    """Return the cheapest of the instance types whose price and vCPUs are known."""
    usage, known = workload.usage, []
    for kind in reversed(prices.usd_per_hour):  # among equals prefer the later, newer type
        capacity = targets.capacity_of(kind, usage.vcpu_ms)
        if capacity and targets.architecture_of(kind) == architecture:
            known.append(targets.real_time(usage, prices, kind, capacity, least_instances))
    return cheapest(known, workload.traffic or Traffic(1.0)) if known else None
