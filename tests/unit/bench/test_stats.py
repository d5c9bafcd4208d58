from dataclasses import replace

import pytest

from bench.benchmark import compare, counted, interval
from bench.load import Round

QUIET = Round(100, requests_per_second=200.0, cpu_ms_per_request=8.0, p50_ms=40.0, p99_ms=60.0)
SLOWER = replace(QUIET, requests_per_second=100.0, cpu_ms_per_request=12.0, p99_ms=180.0)
NAMES = ("ours", "peer")
DISTURBED = replace(QUIET, other_cpus=1e9)


def test_the_interval_holds_the_median_and_narrows_with_agreement() -> None:
    assert interval([2.0] * 12) == {"ratio": 2.0, "interval": [2.0, 2.0]}
    found = interval([1.0, 1.1, 1.2, 1.3, 5.0])
    low, high = found["interval"]
    assert 1.0 <= low <= found["ratio"] == 1.2 <= high <= 5.0
    assert interval([1.0, 1.1, 1.2, 1.3, 5.0]) == found  # the seed is fixed


def test_a_ratio_above_one_means_that_ours_is_better() -> None:
    found = compare(8, [(QUIET, SLOWER)] * 10, 10, NAMES)
    ratios = {key: of["ratio"] for key, of in found["ratios"].items()}
    assert ratios == pytest.approx(
        {"requests_per_second": 2.0, "cpu_ms_per_request": 1.5, "p50_ms": 1.0, "p99_ms": 3.0}
    )
    back = compare(8, [(SLOWER, QUIET)] * 10, 10, NAMES)
    assert back["ratios"]["requests_per_second"]["ratio"] == pytest.approx(0.5)


def test_ratios_are_of_pairs_and_not_of_medians() -> None:
    """The machine may be slower during some pairs."""
    fast = (QUIET, SLOWER)
    slow = (replace(QUIET, requests_per_second=20.0), replace(QUIET, requests_per_second=10.0))
    found = compare(1, [fast, slow] * 2, 4, NAMES)
    assert found["ratios"]["requests_per_second"]["interval"] == [2.0, 2.0]


def test_disturbed_pairs_count_only_where_there_are_too_few_others() -> None:
    quiet, disturbed = (QUIET, SLOWER), (DISTURBED, SLOWER)
    assert counted([quiet, disturbed, quiet], 2) == ([quiet, quiet], True)
    assert counted([quiet, disturbed], 2) == ([quiet, disturbed], False)
    found = compare(1, [quiet, disturbed], 2, NAMES)
    assert found["settled"] is False
    assert found["pairs"] == {"measured": 2, "counted": 2}


def test_a_round_keeps_the_percentiles_and_the_cpu_time_of_its_answers() -> None:
    found = Round.of(10.0, 0.5, [0.001] * 98 + [0.1, 0.1], refused=2)
    assert found.requests == 100
    assert found.cpu_ms_per_request == pytest.approx(5.0)
    assert found.p50_ms == pytest.approx(1.0)
    assert found.p99_ms == pytest.approx(100.0)
    assert (found.refused, found.broken) == (2, 0)
