"""Check the formulas against AWS's examples, against algebra, and for any traffic."""

import re
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from infra.config.context import read_config
from ops.cost import prices, targets
from ops.cost.estimate import break_evens, cheapest, estimate
from ops.cost.one_url import OneUrl
from ops.cost.targets import Target, real_time, serverless
from ops.cost.workload import (
    HOURS_PER_MONTH,
    SECONDS_PER_MONTH,
    RequestUsage,
    Traffic,
    Workload,
)

REGION = prices.load(prices.SHIPPED, "us-east-1")
ANY_TIME = settings(deadline=None, database=None, derandomize=True)
USAGE = RequestUsage(lambda_memory_mb=1769, lambda_ms=40.0, vcpu_ms=40.0)
SERVERLESS = serverless(replace(USAGE, serverless_memory_mb=3072, serverless_ms=1000.0), REGION)


def instances(usage: RequestUsage, instance_type: str, capacity: float, least: int = 1) -> Target:
    return real_time(usage, REGION, instance_type, capacity, least)


def on_lambda(requests: float, memory_mb: int, ms: float, *, free_tier: bool = False) -> float:
    usage = replace(USAGE, lambda_memory_mb=memory_mb, lambda_ms=ms)
    target = targets.on_lambda(usage, REGION, free_tier=free_tier)
    return target.usd_per_month(Traffic(requests))


def kept_warm(requests: float, memory_mb: int, ms: float, executions: int) -> float:
    usage = replace(USAGE, lambda_memory_mb=memory_mb, lambda_ms=ms)
    target = targets.on_lambda(usage, REGION, kept_warm=executions)
    return target.usd_per_month(Traffic(requests))


@pytest.mark.parametrize(
    ("published", "computed", "tolerance"),
    [
        # 3,008 MB are 2.9375 GB; times 0.674 s is 1.979875 GB-s, $32.9980 a million, and $0.20.
        (33.20, on_lambda(1e6, 3008, 674), 0.005),
        # 3 million requests of 1 s with 512 MB, with the free tier.
        (18.74, on_lambda(3e6, 512, 1000, free_tier=True), 0.04),
        # 7 executions of 4,096 MB kept warm, $10.08 for 24 hours; 2 million requests of 280 ms.
        (10.08 / 24 * HOURS_PER_MONTH + 21.78 + 0.40, kept_warm(2e6, 4096, 280, 7), 0.2),
        # 1,000 requests of a second on a serverless endpoint with 3 GB, $0.00006 each.
        (0.06, SERVERLESS.usd_per_month(Traffic(1000)), 1e-9),
        # docs/05-deployment.md: $10.95 for each GB kept warm, $83.95 for one ml.m5.large.
        (10.95, kept_warm(0.0, 1024, 40, 1), 0.005),
        (83.95, instances(USAGE, "ml.m5.large", 1.0).usd_per_month(Traffic(1.0)), 0.005),
    ],
)
def test_published_examples(published: float, computed: float, tolerance: float) -> None:
    """Compare with AWS's pages, US East (N. Virginia), rounded to cents there, and with the docs.

    https://aws.amazon.com/lambda/pricing/, https://aws.amazon.com/sagemaker/ai/pricing/
    """
    assert computed == pytest.approx(published, abs=tolerance)


SHAPES = st.one_of(
    st.just((1.0,)),
    st.lists(st.floats(0.1, 100), min_size=24, max_size=24).map(tuple),
)
USAGES = st.builds(
    RequestUsage,
    lambda_memory_mb=st.integers(128, 10240),
    lambda_ms=st.floats(1, 60_000),
    serverless_memory_mb=st.sampled_from(range(1024, 6145, 1024)),
    serverless_ms=st.floats(1, 60_000),
    vcpu_ms=st.floats(1, 60_000),
    cold_ms=st.floats(0, 60_000),
    cold_share=st.floats(0, 1),
    data_bytes=st.one_of(st.none(), st.floats(0, 4e6)),
)
REQUEST_COUNTS = st.floats(1, 1e10)


@given(USAGES, SHAPES, REQUEST_COUNTS, st.floats(1, 100))
@ANY_TIME
def test_more_traffic_never_costs_less_and_nothing_is_negative(
    usage: RequestUsage, weights: tuple[float, ...], requests: float, factor: float
) -> None:
    for target in (
        targets.on_lambda(usage, REGION),
        targets.on_lambda(usage, REGION, free_tier=True),
        targets.on_lambda(usage, REGION, kept_warm=None),
        targets.on_lambda(usage, REGION, kept_warm=3),
        serverless(usage, REGION),
        instances(usage, "ml.m5.large", 20.0),
        instances(usage, "ml.t2.medium", 5.0, least=2),
    ):
        less = target.usd_per_month(Traffic(requests, weights))
        more = target.usd_per_month(Traffic(requests * factor, weights))
        assert 0 <= less <= more * (1 + 1e-9), target


# The costs of two kinds grow almost equally, because data dominates both.
ALIKE = RequestUsage(
    lambda_memory_mb=128,
    lambda_ms=102.0,
    serverless_memory_mb=1024,
    serverless_ms=2.0,
    vcpu_ms=1.0,
    data_bytes=24159.0,
)


@given(USAGES)
@example(ALIKE)
@settings(ANY_TIME, max_examples=25)
def test_around_a_break_even_the_cheapest_changes(usage: RequestUsage) -> None:
    targets = estimate(Workload(usage), REGION).targets
    for point in break_evens(targets, Traffic(1.0)):
        assert point.before.kind != point.after.kind
        below = Traffic(point.requests_per_month * (1 - 1e-5))
        least = min(each.usd_per_month(below) for each in targets)
        of_kind = [each for each in targets if each.kind == point.before.kind]
        # Differences below 1e-6 come from rounding.
        assert cheapest(of_kind, below).usd_per_month(below) <= least * (1 + 1e-6)
        at = Traffic(point.requests_per_month)
        assert point.after.usd_per_month(at) <= point.before.usd_per_month(at)


def test_a_straight_line_and_an_instance_break_even_where_algebra_says() -> None:
    """$83.95 for an ml.m5.large, divided by $33.20 a million: 2.53 million, 0.96 requests/s."""
    usage = replace(USAGE, lambda_memory_mb=3008, lambda_ms=674.0)
    by_call, instance = targets.on_lambda(usage, REGION), instances(usage, "ml.m5.large", 1000.0)
    (point,) = break_evens([by_call, instance], Traffic(1.0))
    expected = 83.95 / on_lambda(1, 3008, 674)
    assert point.requests_per_month == pytest.approx(expected, rel=1e-5)


def behind_the_url(capacity: float) -> OneUrl:
    endpoint = instances(USAGE, "ml.m5.large", capacity)
    return OneUrl(USAGE, REGION, endpoint)


def test_a_function_that_forwards_is_billed_while_it_waits() -> None:
    one_url, traffic = behind_the_url(35.0), Traffic(10e6)
    # 512 MB for 40 + 10 ms are 0.025 GB-s: $0.4167 a million, and $0.20.
    assert one_url.forwarding_usd(1e6, 512) == pytest.approx(0.617, abs=0.001)
    shared, doorman, spill = (target.quote(traffic) for target in one_url.targets(25))
    alone = one_url.endpoint.usd_per_month(traffic)
    assert doorman.usd_per_month == pytest.approx(alone + 6.17, abs=0.01)
    parts = (
        on_lambda(7.5e6, 1769, 40),
        one_url.endpoint.usd_per_month(Traffic(2.5e6)),
        one_url.forwarding_usd(2.5e6, 1769),  # the function keeps the model for the other calls
    )
    assert shared.usd_per_month == pytest.approx(sum(parts))
    spilling = one_url.forwarding(traffic, 100, spill=True).usd_per_month
    assert spilling == pytest.approx(alone + one_url.forwarding_usd(10e6, 1769))
    commands = [shared.command, doorman.command, spill.command]
    keys = [dict(re.findall(r"-c (\w+)=(\S+)", command)) for command in commands]
    configs = [read_config(each) for each in keys]
    assert [config.forward_percent for config in configs] == [25, 100, 100]
    assert [config.is_doorman for config in configs] == [False, True, False]
    assert {config.lambda_memory_mb for config in configs} == {1769}


def test_with_spill_instances_are_for_the_base_load() -> None:
    """One hour a day has nine times the calls of the others."""
    capacity = 10.0
    one_url = behind_the_url(capacity)
    traffic = Traffic(8 * 32 / 24 * SECONDS_PER_MONTH, (1.0,) * 23 + (9.0,))
    rates = {rate: hours for hours, rate in traffic.hours}
    base, peak = sorted(rates)
    assert (base, peak) == (pytest.approx(8), pytest.approx(72))
    *_, spill = one_url.targets(10)
    taken = (rates[base] * base + rates[peak] * capacity) * 3600
    beyond = rates[peak] * (peak - capacity) * 3600
    expected = instances(USAGE, "ml.m5.large", 1.0).usd_per_month(Traffic(1.0))
    expected += one_url.forwarding_usd(taken, 1769) + on_lambda(beyond, 1769, 40)
    found = spill.quote(traffic)
    assert found.usd_per_month == pytest.approx(expected)
    assert found.runs == "1 of 8 instances"
    assert "-c min_instances=1 -c max_instances=1" in found.command


def test_capacity_comes_from_the_vcpus_of_a_type() -> None:
    """A request takes 100 ms of a vCPU, and vCPUs are busy for 70 % of the time."""
    sizes = ("ml.m5.large", "ml.c7i.xlarge", "ml.g4dn.12xlarge", "ml.t2.medium", "ml.m5.metal")
    found = [targets.capacity_of(size, 100.0) for size in sizes]
    assert found[:3] == pytest.approx([14.0, 28.0, 336.0])
    assert found[3:] == [0.0, 0.0]


def test_every_price_has_a_source_and_a_date() -> None:
    for region, groups in prices.read(prices.SHIPPED).items():
        assert "lambda" in prices.load(prices.SHIPPED, region).groups, region
        for name, group in groups.items():
            assert group["source"].startswith("https://"), (region, name)
            assert len(group["date"]) == len("2026-09-27")
