import pytest

from bench.cold_start import summary

OURS = {"total": 200.0, "rss_mb": 150.0}
PEER = {"total": 1200.0, "rss_mb": 300.0}


def test_ratios_and_medians() -> None:
    found = summary({"ours": [OURS] * 3, "proof_of_concept": [PEER] * 3})
    assert found["times_sooner"] == {"ratio": pytest.approx(6.0), "interval": [6.0, 6.0]}
    assert found["memory"]["ratio"] == pytest.approx(0.5)
    assert found["ours"]["medians"]["total"] == 200.0
    assert found["pairs"] == len(found["ours"]["rounds"]) == 3
