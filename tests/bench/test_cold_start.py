"""What cold starts amount to."""

import pytest

from bench.cold_start import ColdStart, summary

OURS = ColdStart(imports=100.0, load=80.0, answer=20.0, rss_mb=150.0, pss_mb=120.0)
THEIRS = ColdStart(imports=1000.0, load=100.0, answer=100.0, rss_mb=300.0, pss_mb=290.0)


def test_ratios_and_medians() -> None:
    found = summary([{"ours": OURS, "proof_of_concept": THEIRS}] * 3)
    assert found["times_sooner"] == {"ratio": pytest.approx(6.0), "interval": [6.0, 6.0]}
    assert found["memory"]["ratio"] == pytest.approx(0.5)
    assert found["ours"]["medians"]["total"] == 200.0
    assert found["pairs"] == len(found["ours"]["rounds"]) == 3
