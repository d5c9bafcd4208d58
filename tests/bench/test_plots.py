"""The plots: drawn from results, the same bytes for the same data."""

import json
from pathlib import Path

import pytest

from bench import plots

STAGES = {"imports": 100.0, "load": 80.0, "answer": 20.0, "total": 200.0}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    sweep = [
        {"concurrency": n, "requests_per_second": 100.0 + n, "p99_ms": 10.0 * n} for n in (1, 8, 64)
    ]
    peers = {"some": {"title": "Some peer", "sweep": {"ours": sweep, "peer": sweep[:2]}}}
    (tmp_path / "peers.json").write_text(json.dumps({"peers": peers}))
    cold = {side: {"medians": STAGES} for side in ("ours", "proof_of_concept")}
    (tmp_path / "cold_start.json").write_text(json.dumps(cold))
    return tmp_path


def test_what_there_is_is_drawn(results: Path) -> None:
    assert plots.main(["--results", str(results)]) == 0
    drawn = {path.name: path.read_bytes() for path in results.glob("*.svg")}
    assert set(drawn) == {"peers_requests_per_second.svg", "peers_p99_ms.svg", "cold_start.svg"}
    assert b"Some peer" in drawn["peers_p99_ms.svg"]
    assert b"200 ms" in drawn["cold_start.svg"]
    plots.main(["--results", str(results)])
    assert drawn == {path.name: path.read_bytes() for path in results.glob("*.svg")}


def test_no_results_are_no_fault(tmp_path: Path) -> None:
    assert plots.main(["--results", str(tmp_path)]) == 0
    assert not list(tmp_path.glob("*.svg"))
