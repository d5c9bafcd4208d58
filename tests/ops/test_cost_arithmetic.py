"""What a month costs: by AWS's own examples, by hand, and by what holds for any traffic."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.cost import arithmetic, prices
from ops.cost.arithmetic import HOURS_PER_MONTH, MILLION, SECONDS_PER_MONTH
from ops.cost.break_evens import break_evens, cheapest
from ops.cost.candidates import candidates
from ops.cost.found import Choices, Found
from ops.cost.prices import GB_SECONDS, KEPT, KEPT_DURATION, PER_HOUR, REQUESTS
from ops.cost.targets import (
    KeptWarm,
    OnDemand,
    RealTime,
    Serverless,
    Target,
    Work,
    capacity_per_second,
    vcpus,
)
from ops.cost.traffic import Traffic

ASKS = prices.load(prices.SHIPPED, "us-east-1")
ANY_TIME = settings(deadline=None, database=None, derandomize=True)


def on_lambda(
    requests: float, memory_mb: int, billed_ms: float, *, gb_seconds: str = GB_SECONDS, **more: bool
) -> float:
    return arithmetic.lambda_usd(
        requests,
        memory_mb=memory_mb,
        billed_ms=billed_ms,
        usd_per_million_requests=ASKS.on_lambda[REQUESTS],
        usd_per_million_gb_seconds=ASKS.on_lambda[gb_seconds],
        **more,
    )


def kept(executions: int, memory_mb: int, hours: float) -> float:
    return arithmetic.kept_usd(
        executions,
        memory_mb=memory_mb,
        hours=hours,
        usd_per_million_gb_seconds=ASKS.on_lambda[KEPT],
    )


def test_by_hand() -> None:
    """3,008 MB are 2.9375 GB; times 0.674 s is 1.979875 GB-s, $32.9980 a million, and $0.20."""
    assert on_lambda(1e6, 3008, 674) == pytest.approx(33.20, abs=0.005)
    assert pytest.approx(on_lambda(1e6, 3008, 674)) == 1.979875 * 0.0000166667 * 1e6 + 0.20


@pytest.mark.parametrize(
    ("published", "ours"),
    [
        # 3 million requests of 1 s with 512 MB, with the free tier.
        (18.74, on_lambda(3e6, 512, 1000, free_tier=True)),
        # 7.44 million of 2 s with 1 GB, without it: requests $1.49, compute $248.00.
        (1.49 + 248.00, on_lambda(7.44e6, 1024, 2000)),
        # 3 million of 500 ms with 1,536 MB, with it: compute $30.83, requests $0.40.
        (30.83 + 0.40, on_lambda(3e6, 1536, 500, free_tier=True)),
        # A million of 2 s with 1 GB a day, for 30 days: compute with the free tier $993.3.
        (993.3, on_lambda(30e6, 1024, 2000, free_tier=True) - 29 * 0.20),
        # 7 executions of 4,096 MB kept warm for 24 hours, and 2 million requests of 280 ms.
        (
            10.08 + 21.78 + 0.40,
            kept(7, 4096, 24) + on_lambda(2e6, 4096, 280, gb_seconds=KEPT_DURATION),
        ),
        # 100 of 1,536 MB kept for 8 hours, in which 500,000 requests of 100 ms come.
        (
            18 + 0.73,
            kept(100, 1536, 8)
            + on_lambda(5e5, 1536, 100, gb_seconds=KEPT_DURATION)
            - on_lambda(5e5, 1536, 0),
        ),
    ],
)
def test_examples_of_aws_for_lambda(published: float, ours: float) -> None:
    """https://aws.amazon.com/lambda/pricing/, US East (N. Virginia), rounded to cents there."""
    assert ours == pytest.approx(published, abs=0.04)


@pytest.mark.parametrize(
    ("published", "hours", "usd_per_hour"),
    [(2.11, 8.208, 0.257), (125.85, 74.998, 1.678), (177.26, 22.409, 7.91), (1.07, 1.299, 0.821)],
)
def test_a_bill_of_aws_for_hosting(published: float, hours: float, usd_per_hour: float) -> None:
    """https://github.com/aws-samples/sagemaker-ssh-helper/blob/main/Sample_Costs.md"""
    ours = arithmetic.instances_usd(hours, usd_per_hour=usd_per_hour)
    assert ours == pytest.approx(published, abs=0.01)


def test_what_the_docs_say_of_idle_targets() -> None:
    """docs/05-deployment.md: $10.95 for each GB kept warm, $83.95 for one ml.m5.large."""
    assert kept(1, 1024, HOURS_PER_MONTH) == pytest.approx(10.95, abs=0.005)
    idle = RealTime(WORK, ASKS, "ml.m5.large", 1.0).usd_per_month(Traffic(1.0))
    assert idle == pytest.approx(83.95, abs=0.005)


def test_serverless_inference() -> None:
    """3 GB for a second cost $0.00006: https://aws.amazon.com/sagemaker/ai/pricing/"""
    ours = arithmetic.serverless_usd(
        1000, memory_mb=3072, billed_ms=1000, usd_per_million_gb_seconds=ASKS.serverless[GB_SECONDS]
    )
    assert ours == pytest.approx(1000 * 0.00006)


WORK = Work(
    lambda_memory_mb=1769,
    lambda_ms=40.0,
    serverless_memory_mb=3072,
    serverless_ms=40.0,
    vcpu_ms=40.0,
    cold_ms=1500.0,
    cold_share=0.01,
    data_bytes=50_000.0,
)
SHAPES = st.one_of(
    st.just((1.0,)),
    st.lists(st.floats(0.1, 100), min_size=24, max_size=24).map(tuple),
)
WORKS = st.builds(
    Work,
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


def every_target(work: Work) -> list[Target]:
    return [
        OnDemand(work, ASKS),
        OnDemand(work, ASKS, free_tier=True),
        KeptWarm(work, ASKS),
        KeptWarm(work, ASKS, executions=3),
        Serverless(work, ASKS),
        RealTime(work, ASKS, "ml.m5.large", 20.0),
        RealTime(work, ASKS, "ml.t2.medium", 5.0, least=2),
    ]


@given(WORKS, SHAPES, REQUEST_COUNTS, st.floats(1, 100))
@ANY_TIME
def test_more_traffic_never_costs_less_and_nothing_is_negative(
    work: Work, weights: tuple[float, ...], requests: float, factor: float
) -> None:
    for target in every_target(work):
        less = target.usd_per_month(Traffic(requests, weights))
        more = target.usd_per_month(Traffic(requests * factor, weights))
        assert 0 <= less <= more * (1 + 1e-9), target


@given(WORKS, SHAPES, REQUEST_COUNTS)
@ANY_TIME
def test_cost_jumps_only_where_another_instance_or_execution_comes(
    work: Work, weights: tuple[float, ...], requests: float
) -> None:
    """A billionth more traffic costs a billionth more; or another of what is counted whole."""
    little = 1e-9
    for target in every_target(work):
        here, there = Traffic(requests, weights), Traffic(requests * (1 + little), weights)
        rise = target.usd_per_month(there) - target.usd_per_month(here)
        if target.remark(here) != target.remark(there):
            continue  # another one, or at the limit
        if isinstance(target, RealTime) and target.usd_per_month(here) < math.inf:
            hours = zip(here.hours, there.hours)
            # Hours of equal traffic get theirs together; each is one instance more at most.
            steps = sum(h.hours for h, t in hours if t != h) * ASKS.per_hour[target.instance_type]
            assert rise <= steps * 1.001 + 1e-6 * target.usd_per_month(here)
        elif target.usd_per_month(here) < math.inf:
            assert rise <= 1e-6 * target.usd_per_month(here) + 1e-9, target


@given(WORKS, SHAPES, st.floats(1e3, 1e9))
@ANY_TIME
def test_an_endpoint_always_has_the_capacity_that_its_hours_need(
    work: Work, weights: tuple[float, ...], requests: float
) -> None:
    capacity = capacity_per_second("ml.m5.xlarge", work.vcpu_ms)
    assert capacity
    traffic = Traffic(requests, weights)
    for hours in traffic.hours:
        instances = arithmetic.whole(hours.requests_per_second, capacity)
        assert instances >= 1
        assert instances * capacity * (1 + 1e-9) >= hours.requests_per_second
        assert (instances - 1) * capacity <= hours.requests_per_second


@given(SHAPES, REQUEST_COUNTS)
@ANY_TIME
def test_a_profile_only_moves_requests(weights: tuple[float, ...], requests: float) -> None:
    traffic = Traffic(requests, weights)
    assert sum(h.hours for h in traffic.hours) == pytest.approx(HOURS_PER_MONTH)
    asked = sum(h.hours * 3600 * h.requests_per_second for h in traffic.hours)
    assert asked == pytest.approx(requests)
    assert traffic.peak_per_second >= traffic.mean_per_second * (1 - 1e-9)


@given(WORKS)
@settings(ANY_TIME, max_examples=25)
def test_around_a_break_even_the_cheapest_changes(work: Work) -> None:
    rivals = candidates(Found(work), ASKS, Choices()).rivals
    for point in break_evens(rivals, Traffic(1.0)):
        below = cheapest(rivals, Traffic(point.requests_per_month * (1 - 1e-5)))
        assert below.kind == point.before.kind
        assert point.before.kind != point.after.kind
        before, after = (
            target.usd_per_month(Traffic(point.requests_per_month))
            for target in (point.before, point.after)
        )
        assert after <= before


def test_a_straight_line_and_an_instance_break_even_where_algebra_says() -> None:
    """$83.95 an hourly ml.m5.large, over $33.20 a million: 2.53 million, 0.96 requests/s."""
    work = Work(3008, 674.0, 3072, 674.0, 674.0)
    by_call, instance = OnDemand(work, ASKS), RealTime(work, ASKS, "ml.m5.large", 1000.0)
    (point,) = break_evens([by_call, instance], Traffic(1.0))
    assert point.requests_per_month == pytest.approx(83.95 / on_lambda(1, 3008, 674), rel=1e-5)
    assert point.requests_per_month / SECONDS_PER_MONTH == pytest.approx(0.962, abs=0.001)
    assert point.sentence == (
        "Lambda, 3,008 MB is cheaper below 0.96 requests/s on average (2.53 million a month), "
        "SageMaker ml.m5.large above."
    )


def test_capacity_comes_from_vcpus_that_can_be_counted_on() -> None:
    sizes = ("ml.m5.large", "ml.c7i.xlarge", "ml.g4dn.12xlarge", "ml.t2.medium", "ml.m5.metal")
    assert [vcpus(size) for size in sizes] == [2, 4, 48, None, None]
    assert capacity_per_second("ml.m5.large", 100.0) == pytest.approx(2 * 0.7 / 0.1)


def test_every_price_has_a_source_and_a_date_and_is_told_in_its_own_unit() -> None:
    for region, groups in prices.read(prices.SHIPPED).items():
        asks = prices.load(prices.SHIPPED, region)
        assert asks.on_lambda, region
        for name, group in groups.items():
            assert group["source"].startswith("https://"), (region, name)
            assert len(group["date"]) == len("2026-09-27")
    assert prices.read(prices.SHIPPED)["us-east-1"]["instances"][PER_HOUR]["ml.m5.large"] == 0.115


def test_the_dashboard_has_the_same_prices() -> None:
    from infra import prices as dashboard

    asks = prices.load(prices.SHIPPED, dashboard.REGION)
    assert set(asks.dates.values()) == {dashboard.DATE}
    assert asks.per_hour == dashboard.INSTANCE_HOUR
    assert {name: value / MILLION for name, value in asks.on_lambda.items()} == pytest.approx(
        {
            REQUESTS: dashboard.LAMBDA_REQUEST,
            GB_SECONDS: dashboard.LAMBDA_GB_SECOND,
            KEPT: dashboard.PROVISIONED_GB_SECOND,
            KEPT_DURATION: dashboard.PROVISIONED_DURATION_GB_SECOND,
        }
    )
    assert asks.serverless[GB_SECONDS] / MILLION == pytest.approx(dashboard.SERVERLESS_GB_SECOND)
