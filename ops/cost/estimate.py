"""Compare the targets that have prices, find the break-evens, and advise."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from ops.cost import CostError, targets
from ops.cost.one_url import OneUrl
from ops.cost.prices import Prices, usd
from ops.cost.targets import Quote, Target
from ops.cost.workload import ARM, DEFAULT_INSTANCES, X86, Traffic, Workload, average

LEFT_OUT = (
    "Lambda's free tier (--free-tier)",
    "data transfer out of AWS",
    "logs, metrics and alarms",
    "the examiner, about $1 with mode=both",
    "the image's storage in ECR",
    "Savings Plans, and Lambda's tiers above the first",
    "instances that scaling starts or stops late",
)
LOWEST, HIGHEST = 1e3, 1e10  # requests a month
_STEPS = 400  # the search misses two break-evens less than 4 % apart
_MOST_TOLD = 2  # break-evens
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
    before = best(LOWEST, "")
    for left, right in pairwise(LOWEST * ratio**step for step in range(_STEPS + 1)):
        low = left
        while best(right, before.kind).kind != before.kind:
            high = right
            while high > low * _EXACT:
                middle = (low * high) ** 0.5
                stays = best(middle, before.kind).kind == before.kind
                low, high = (middle, high) if stays else (low, middle)
            before, after = best(low, before.kind), best(high, "")
            is_a_limit = math.isinf(before.usd_per_month(traffic.scaled_to(high)))
            yield BreakEven(high, before, after, is_a_limit)
            low, before = high, after


@dataclass(frozen=True)
class Estimate:
    """Hold the compared targets, and sentences about what is missing."""

    workload: Workload
    prices: Prices
    targets: Sequence[Target]
    not_measured: Sequence[Target]  # targets of the other architecture
    missing: Sequence[str]
    left_out: Sequence[str]  # of the bill
    forwarding: str = ""  # what forwarding by the function's URL costs

    @property
    def traffic(self) -> Traffic | None:
        return self.workload.traffic

    @property
    def ranked(self) -> Sequence[Target]:
        """Return the targets, cheapest first."""
        traffic = self.workload.asked
        return sorted(self.targets, key=lambda target: target.usd_per_month(traffic))

    @property
    def assumption(self) -> str:
        """Say what the costs of the other architecture assume; empty without any."""
        if not self.not_measured:
            return ""
        traffic = self.workload.asked
        best = cheapest(self.not_measured, traffic)
        month = "a month" if self.traffic else "for a million requests"
        where = "Graviton" if self.workload.architecture == X86 else "x86-64"
        date = self.prices.dates.get("lambda_arm64")
        source = f" (Lambda arm64: list prices of {date})" if date else ""
        costs = f"{best.name} costs {usd(best.usd_per_month(traffic))} {month}{source}"
        return f"* Not measured on {where}. If a request takes as long there, {costs}."

    @cached_property
    def break_evens(self) -> Sequence[BreakEven]:
        return [*break_evens(self.targets, self.workload.asked)] if self.targets else []

    @property
    def best(self) -> Target | None:
        """Return the cheapest target; None if the traffic is unknown or too much for all."""
        if not self.traffic or not self.targets:
            return None
        best = cheapest(self.targets, self.traffic)
        return None if math.isinf(best.usd_per_month(self.traffic)) else best

    @property
    def turning_points(self) -> list[str]:
        """Say at which traffic the cheapest kind changes; the first sentence is the advice."""
        points, kinds = self.break_evens, {target.kind for target in self.targets}
        said = [point.sentence for point in points[:_MOST_TOLD]]
        if more := len(points) - len(said):
            said.append(f"... and {more} more, with each further instance (--json).")
        if said or not kinds:
            return said or ["There is nothing to compare."]
        if len(kinds) == 1:
            return [f"Only {kinds.pop()} could be compared."]
        only = cheapest(self.targets, Traffic(1.0)).kind
        return [f"{only} is the cheapest at any traffic up to {average(HIGHEST)}."]

    @property
    def advice(self) -> str:
        """Name the cheapest target; without traffic, return the turning point."""
        traffic, best, current = self.traffic, self.best, self.workload.current_target
        if traffic is None or not self.targets:
            return self.turning_points[0]
        if best is None:
            return "No target can serve that much traffic within the stack's limits."
        costs = best.usd_per_month(traffic)
        said = f"At {traffic.mean_per_second:,.3g} requests/s on average, {best.name}"
        now = [target for target in self.targets if target.name == current]
        others = now or [target for target in self.targets if target.kind != best.kind]
        if not others:
            return f"{said} costs {usd(costs)} a month. {self.turning_points[0]}"
        said += f" is the cheapest: {usd(costs)} a month"
        if best.name == current:
            return f"{said}, and the stack already uses it."
        other = cheapest(others, traffic)
        saved = usd(other.usd_per_month(traffic) - costs)
        return f"{said}, {saved} less than {other.name}{', where the stack is now' if now else ''}."

    @property
    def command(self) -> str | None:
        """Return the command that deploys the cheapest target; None if nothing has to change."""
        if not self.traffic or not self.best or self.best.name == self.workload.current_target:
            return None
        return self.deploy(self.best.quote(self.traffic))

    def deploy(self, quote: Quote) -> str:
        """Return the command that deploys a quote, to the observed stack if there is one."""
        name = self.workload.stack_name
        return f"{quote.command} -c stack_name={name}" if name else quote.command


def estimate(
    workload: Workload,
    prices: Prices,
    instances: Mapping[str, float | None] | None = None,
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
    usage, own, asked = workload.usage, workload.architecture, workload.asked
    by_cpu: dict[str, list[Target]] = {own: [], X86 if own == ARM else ARM: []}
    compared, not_measured = by_cpu.values()
    missing: list[str] = []

    def add(cpu: str, target: Callable[..., Target], *arguments: object, **named: object) -> None:
        try:
            by_cpu[cpu].append(target(usage, prices, *arguments, **named))
        except CostError as error:
            missing.append(str(error))

    for cpu in by_cpu:
        add(cpu, targets.on_lambda, cpu, free_tier=free_tier)
        add(cpu, targets.on_lambda, cpu, kept_warm=executions or workload.executions or None)
    add(X86, targets.serverless)
    default = workload.instance_type or DEFAULT_INSTANCES[own]
    for kind, rate in (instances or {default: None}).items():
        cpu = own if rate else targets.architecture_of(kind)
        add(cpu, targets.real_time, kind, rate, least_instances)
    if not instances and usage.vcpu_ms <= targets.MOST_ENDPOINT_SECONDS * 1000:
        for cpu, found in by_cpu.items():
            known = [
                targets.real_time(usage, prices, kind, None, least_instances)
                for kind in reversed(prices.usd_per_hour)  # the later, newer type among equals
                if targets.architecture_of(kind) == cpu and targets.capacity_of(kind, usage.vcpu_ms)
            ]
            if known and (best := cheapest(known, asked)).instance_type != default:
                found.append(best)
    if "data" not in prices.groups:
        missing.append(prices.lacks("data in and out of SageMaker"))
    elif usage.data_bytes is None:
        each = usd(targets.data_usd(1e6, 10 * 1024, prices))
        hint = "SageMaker's charge for data in and out is not counted: --data-kb adds it"
        missing.append(f"{hint} (10 KB a request: {each} a million)")
    forwarding = ""
    endpoints = [target for target in compared if target.instance_type]
    if forwarded_percent and endpoints:
        one_url = OneUrl(usage, prices, cheapest(endpoints, asked))
        if one_url.price:
            compared += one_url.targets(forwarded_percent)
            forwarding = one_url.advice
    left_out = LEFT_OUT[1:] if free_tier else LEFT_OUT
    missing = list(dict.fromkeys(missing))  # Lambda's two targets lack the same price
    return Estimate(workload, prices, compared, not_measured, missing, left_out, forwarding)
