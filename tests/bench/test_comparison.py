"""The arithmetic of pairs: medians, ratios, intervals, and what counts."""

from dataclasses import replace

import pytest

from bench.comparison import compare, sweep_point
from bench.measured import Round
from bench.report import counted, interval

QUIET = Round(
    requests=100, requests_per_second=200.0, cpu_ms_per_request=8.0, p50_ms=40.0, p99_ms=60.0
)
SLOWER = replace(QUIET, requests_per_second=100.0, cpu_ms_per_request=12.0, p99_ms=180.0)
DISTURBED = replace(QUIET, other_cpus=1e9)


def test_the_interval_holds_the_median_and_narrows_with_agreement() -> None:
    assert interval([2.0] * 12) == (2.0, 2.0, 2.0)
    ratio, low, high = interval([1.0, 1.1, 1.2, 1.3, 5.0])
    assert ratio == 1.2
    assert 1.0 <= low <= ratio <= high <= 5.0
    assert interval([1.0, 1.1, 1.2, 1.3, 5.0]) == (ratio, low, high)  # the same draws every time


def test_every_ratio_says_how_many_times_ours_is_better() -> None:
    found = compare(8, [(QUIET, SLOWER)] * 10, 10)
    ratios = {key: of["ratio"] for key, of in found["ratios"].items()}
    assert ratios == pytest.approx(
        {"requests_per_second": 2.0, "cpu_ms_per_request": 1.5, "p50_ms": 1.0, "p99_ms": 3.0}
    )
    standing = {key: of["ours_is"] for key, of in found["ratios"].items()}
    assert standing["requests_per_second"] == standing["p99_ms"] == "ahead"
    assert standing["p50_ms"] == "level"
    back = compare(8, [(SLOWER, QUIET)] * 10, 10)
    assert back["ratios"]["requests_per_second"]["ratio"] == pytest.approx(0.5)
    assert back["ratios"]["requests_per_second"]["ours_is"] == "behind"


def test_the_ratio_is_of_pairs_and_not_of_medians() -> None:
    """The machine was slower during some pairs: each is compared with its own other half."""
    fast = (QUIET, replace(QUIET, requests_per_second=100.0))
    slow = tuple(replace(one, requests_per_second=one.requests_per_second / 10) for one in fast)
    found = compare(1, [fast, (slow[0], slow[1]), fast, (slow[0], slow[1])], 4)
    assert found["ratios"]["requests_per_second"]["interval"] == [2.0, 2.0]


def test_disturbed_pairs_count_only_where_there_are_too_few_others() -> None:
    quiet, disturbed = (QUIET, SLOWER), (DISTURBED, SLOWER)
    assert counted([quiet, disturbed, quiet], 2) == ([quiet, quiet], True)
    assert counted([quiet, disturbed], 2) == ([quiet, disturbed], False)
    found = compare(1, [quiet, disturbed], 2)
    assert found["settled"] is False
    assert found["pairs"] == {"measured": 2, "quiet": 1, "counted": 2}


def test_refusals_are_kept_beside_the_figures() -> None:
    refusing = replace(SLOWER, refused=3, broken=1)
    found = compare(256, [(QUIET, refusing)] * 2, 2)
    assert found["refused"] == [0, 6]
    assert found["broken"] == [0, 2]
    assert sweep_point(256, [refusing])["refused"] == 3
    point = sweep_point(8, [QUIET, SLOWER, QUIET])
    assert point["requests_per_second"] == 200.0


def test_a_round_keeps_the_percentiles_and_the_cpu_time_of_its_answers() -> None:
    found = Round.of(10.0, 0.5, [0.001] * 98 + [0.1, 0.1], refused=2)
    assert found.requests == 100
    assert found.cpu_ms_per_request == pytest.approx(5.0)
    assert found.p50_ms == pytest.approx(1.0)
    assert found.p99_ms == pytest.approx(100.0)
    assert (found.refused, found.broken) == (2, 0)
