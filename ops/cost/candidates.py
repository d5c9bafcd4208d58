"""Which targets can be compared with the prices that there are."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ops.cost.arithmetic import data_usd
from ops.cost.found import Choices, Found
from ops.cost.prices import GB, Prices
from ops.cost.targets import (
    KeptWarm,
    OnDemand,
    RealTime,
    Serverless,
    Target,
    capacity_per_second,
)
from ops.cost.traffic import Traffic


@dataclass
class Candidates:
    """`missing` says what is not compared, and why."""

    rivals: list[Target] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def candidates(found: Found, prices: Prices, choices: Choices) -> Candidates:
    all_of_them = Candidates()
    work, rivals = found.work, all_of_them.rivals
    if not prices.on_lambda:
        all_of_them.missing.append(_no_price("Lambda", prices))
    else:
        rivals.append(OnDemand(work, prices, choices.free_tier))
        rivals.append(KeptWarm(work, prices, choices.executions or found.executions))
    if prices.serverless:
        rivals.append(Serverless(work, prices))
    else:
        all_of_them.missing.append(_no_price("SageMaker serverless", prices))
    for kind, given in (choices.instances or {found.instance_type: None}).items():
        capacity = given or capacity_per_second(kind, work.vcpu_ms)
        if kind not in prices.per_hour:
            all_of_them.missing.append(_no_price(kind, prices))
        elif capacity is None:
            all_of_them.missing.append(
                f"how much one {kind} takes cannot be told: --instance {kind}=REQUESTS_PER_SECOND"
            )
        else:
            rivals.append(RealTime(work, prices, kind, capacity, choices.least))
    if prices.data and work.data_bytes is None:
        each = data_usd(1e6, bytes_per_request=10 * 1024, usd_per_gb=prices.data[GB])
        all_of_them.missing.append(
            "what SageMaker takes for data in and out is not counted: --data-kb says how much "
            f"it is (10 KB a request: ${each:.2f} a million)"
        )
    if not choices.instances:
        rivals += _cheapest_instance(found, prices, choices)
    return all_of_them


def _cheapest_instance(found: Found, prices: Prices, choices: Choices) -> Sequence[RealTime]:
    """The type that is cheapest for the traffic (without one: for little), if it is another."""
    priced = [
        RealTime(found.work, prices, kind, capacity, choices.least)
        for kind in reversed(list(prices.per_hour))  # of equal ones the later, which is newer
        if (capacity := capacity_per_second(kind, found.work.vcpu_ms))
    ]
    traffic = found.traffic or Traffic(1.0)
    best = min(priced, key=lambda target: target.usd_per_month(traffic), default=None)
    return [best] if best and best.instance_type != found.instance_type else []


def _no_price(what: str, prices: Prices) -> str:
    return (
        f"no price for {what} in {prices.region} in this file: "
        "--refresh reads it from AWS, --prices names another file"
    )
