"""Compare the targets that the prices cover, find where the cheapest changes, and advise."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from ops.cost import targets
from ops.cost.one_url import OneUrl
from ops.cost.prices import Prices, usd
from ops.cost.targets import Target
from ops.cost.traffic import SECONDS_PER_MONTH, Traffic, count, rounded
from ops.cost.workload import ARM, DEFAULT_INSTANCES, X86, RequestUsage, Workload, other

LEFT_OUT = (
    "data transfer out of AWS",
    "logs, metrics and alarms",
    "the examiner, about $1 with mode=both",
    "the image's storage in ECR",
    "Savings Plans, and Lambda's tiers above the first",
    "instances that scaling starts too late or stops too late",
)
LOWEST, HIGHEST = 1e3, 1e10  # requests a month
_STEPS = 400  # two break-evens closer than 4 % are taken for none
_EXACT = 1 + 1e-9
_EQUAL = 1 + 1e-6  # a difference that only rounding makes


@dataclass(frozen=True)
class BreakEven:
    """Hold a point: `before` is the cheapest below `requests_per_month`, `after` from there on."""

    requests_per_month: float
    before: Target
    after: Target
    is_a_limit: bool  # `before` would still be cheaper, but cannot take more

    @property
    def rate(self) -> str:
        per_second = rounded(self.requests_per_month / SECONDS_PER_MONTH)
        return f"{per_second} requests/s on average ({count(self.requests_per_month)} a month)"

    @property
    def sentence(self) -> str:
        if self.is_a_limit:
            return f"Above {self.rate}, {self.before.name} is at the limit of the stack's keys."
        return f"{self.before.name} is cheaper below {self.rate}, {self.after.name} above."


def cheapest(targets: Sequence[Target], traffic: Traffic) -> Target:
    """Return the first of those that cost least."""
    return min(targets, key=lambda target: target.usd_per_month(traffic))


def break_evens(targets: Sequence[Target], traffic: Traffic) -> Iterator[BreakEven]:
    """Yield the points from LOWEST to HIGHEST for traffic of that shape.

    A change within a kind (another instance type, executions kept warm) is not a break-even.
    """

    def best(requests: float, kind: str) -> Target:
        """Return the cheapest target; one of `kind` if it costs as little."""
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
    """Hold the targets that are compared, and sentences about what is not."""

    workload: Workload
    prices: Prices
    targets: Sequence[Target]
    missing: Sequence[str]
    left_out: Sequence[str]  # of the bill
    forwarding: Sequence[str] = ()  # what the function's URL takes in front of an endpoint
    not_measured: Sequence[Target] = ()  # of the other architecture

    @property
    def traffic(self) -> Traffic | None:
        return self.workload.traffic

    @property
    def ranked(self) -> Sequence[Target]:
        """Return the targets, the cheapest first if the traffic is known."""
        if (traffic := self.traffic) is None:
            return self.targets
        return sorted(self.targets, key=lambda target: target.usd_per_month(traffic))

    @property
    def assumption(self) -> str:
        """Say what the costs of the other architecture take for granted; nothing without them."""
        if not self.not_measured:
            return ""
        traffic = self.traffic or Traffic(1e6)
        best = cheapest(self.not_measured, traffic)
        month = "a month" if self.traffic else "for a million requests"
        where = "Graviton" if self.workload.architecture == X86 else "x86-64"
        said = f"* Not measured on {where}. If a request takes as long there, {best.name} costs "
        said += f"{usd(best.usd_per_month(traffic))} {month}"
        date = self.prices.dates.get("lambda_arm64")
        return said + (f" (Lambda arm64: list prices of {date})." if date else ".")

    @cached_property
    def break_evens(self) -> Sequence[BreakEven]:
        shape = self.traffic or Traffic(1.0)
        return [*break_evens(self.targets, shape)] if self.targets else []

    @property
    def best(self) -> Target | None:
        """Return the cheapest target for the traffic; None if unknown or if none can take it."""
        if not self.traffic or not self.targets:
            return None
        found = self.ranked[0]
        return None if math.isinf(found.usd_per_month(self.traffic)) else found

    @property
    def turning_point(self) -> str:
        """Say at which traffic the cheapest target changes."""
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
        return f"{first.sentence} From {last.rate} on it stays {last.after.name}."

    @property
    def advice(self) -> str:
        """Name the cheapest target for the traffic; without traffic, say where it changes."""
        traffic, best, current = self.traffic, self.best, self.workload.current_target
        if traffic is None or not self.targets:
            return self.turning_point
        if best is None:
            return "No target takes that much traffic within the limits of the stack's keys."
        costs = best.usd_per_month(traffic)
        said = f"At {traffic.mean_per_second:,.3g} requests/s on average, {best.name}"
        now = [target for target in self.targets if target.name == current]
        others = now or [target for target in self.targets if target.kind != best.kind]
        if not others:
            return f"{said} takes {usd(costs)} a month. {self.turning_point}"
        said += f" is the cheapest: {usd(costs)} a month"
        if best.name == current:
            return f"{said}, and the stack is there."
        other = cheapest(others, traffic)
        saved = usd(other.usd_per_month(traffic) - costs)
        return f"{said}, {saved} less than {other.name}{', where the stack is now' if now else ''}."

    @property
    def command(self) -> str | None:
        """Return the command that follows the advice; None if there is nothing to do."""
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
    """Compare Lambda, serverless, and `instances` with the requests a second that each takes.

    The default is the workload's own instance type, and the cheapest. `executions` are kept warm,
    by default today's number, or as many as the traffic needs. With `forwarded_percent`, the
    cheapest endpoint is compared behind the function's URL, too: with that share of its calls, with
    all of them, and for the base load alone.
    """
    usage, per_hour = workload.usage, prices.usd_per_hour
    own, unlike = workload.architecture, other(workload.architecture)
    compared: list[Target] = []
    not_measured: list[Target] = []
    missing: list[str] = []
    left_out = [] if free_tier else ["Lambda's free tier (--free-tier)"]

    def can_run(
        what: str, milliseconds: float, most_seconds: int, *, has_price: bool, advice: str = ""
    ) -> bool:
        """Return whether it has a price and a request ends in time; say so if not."""
        ends_in_time = milliseconds <= most_seconds * 1000
        if not has_price:
            refresh = "--refresh reads it from AWS, --prices names another file"
            missing.append(f"no price for {what} in {prices.region} in this file: {refresh}")
        elif not ends_in_time:
            seconds = f"{milliseconds / 1000:,.0f} s there, and {most_seconds} s is the most"
            missing.append(f"{what} is left out: a request would take {seconds}{advice}")
        return has_price and ends_in_time

    kept = executions or workload.executions
    for architecture, found in ((own, compared), (unlike, not_measured)):
        if found is not_measured and not compared:
            break  # the reason is said
        most, has_price = targets.MOST_LAMBDA_SECONDS, bool(prices.of_lambda(architecture))
        what = f"Lambda{' arm64' * (architecture == ARM)}"
        if can_run(what, usage.lambda_ms, most, has_price=has_price):
            on_demand = targets.on_demand(
                usage, prices, free_tier=free_tier, architecture=architecture
            )
            found.append(on_demand)
            found.append(targets.provisioned_concurrency(usage, prices, kept, architecture))
    most = targets.MOST_ENDPOINT_SECONDS
    has_price = "serverless" in prices.groups
    if can_run("SageMaker serverless", usage.serverless_ms, most, has_price=has_price):
        (compared if own == X86 else not_measured).append(targets.serverless(usage, prices))
    default = workload.instance_type or DEFAULT_INSTANCES[own]
    for kind, rate in (instances or {default: None}).items():
        capacity = rate or targets.capacity_of(kind, usage.vcpu_ms)
        # An instance whose rate is given may be faster than a vCPU.
        vcpu_ms = 0.0 if rate else usage.vcpu_ms
        advice = "; sagemaker_type=async allows more"
        if kind in per_hour and not capacity:
            option = f"--instance {kind}=REQUESTS_PER_SECOND"
            missing.append(f"how much one {kind} takes cannot be told: {option}")
        elif can_run(kind, vcpu_ms, most, has_price=kind in per_hour, advice=advice):
            found = compared if rate or targets.architecture_of(kind) == own else not_measured
            found.append(targets.real_time(usage, prices, kind, capacity, least_instances))
    if not instances and usage.vcpu_ms <= most * 1000:
        for architecture, found in ((own, compared), (unlike, not_measured)):
            best = _cheapest_instance(workload, prices, architecture, least_instances)
            if best and best.name not in {target.name for target in found}:
                found.append(best)
    data_left_out, hints = _unknown_data(usage, prices)
    missing += hints
    left_out += [*data_left_out, *LEFT_OUT]
    forwarding: list[str] = []
    if forwarded_percent is not None and (one_url := _one_url(workload, prices, compared)):
        compared += one_url.targets(forwarded_percent)
        forwarding = [one_url.advice]
    return Estimate(workload, prices, compared, missing, left_out, forwarding, not_measured)


def _one_url(workload: Workload, prices: Prices, compared: Sequence[Target]) -> OneUrl | None:
    """Return the cheapest real-time endpoint behind the function's URL."""
    endpoints = [target for target in compared if target.instance_type]
    if not endpoints or not prices.of_lambda(workload.architecture):
        return None
    endpoint = cheapest(endpoints, workload.traffic or Traffic(1e6))
    return OneUrl(workload.usage, prices, endpoint)


def _unknown_data(usage: RequestUsage, prices: Prices) -> tuple[list[str], list[str]]:
    """Return what of SageMaker's price for data is left out, and how to count it."""
    if "data" not in prices.groups:
        return [f"data in and out of SageMaker (no price in {prices.region})"], []
    if usage.data_bytes is not None:
        return [], []
    each = usd(targets.data_usd(1e6, 10 * 1024, prices))
    hint = "what SageMaker takes for data in and out is not counted: --data-kb says how much it is "
    return ["data in and out of SageMaker"], [f"{hint}(10 KB a request: {each} a million)"]


def _cheapest_instance(
    workload: Workload, prices: Prices, architecture: str, least_instances: int
) -> Target | None:
    """Return the cheapest of the instance types whose price and vCPUs are known."""
    usage = workload.usage
    known = [
        targets.real_time(usage, prices, kind, capacity, least_instances)
        for kind in reversed(prices.usd_per_hour)  # of equal ones the later, which is newer
        if targets.architecture_of(kind) == architecture
        and (capacity := targets.capacity_of(kind, usage.vcpu_ms))
    ]
    return cheapest(known, workload.traffic or Traffic(1.0)) if known else None
