"""The table says what was measured, and what of the goals was reached, whichever it is."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench import table
from ops.faces import ROOT


def ratio(value: float, standing: str = "ahead") -> dict[str, Any]:
    return {"ratio": value, "interval": [value - 0.1, value + 0.1], "ours_is": standing}


def run(concurrency: int, rate: dict[str, Any], p99: dict[str, Any]) -> dict[str, Any]:
    ours = {"p50_ms": 30.0, "p99_ms": 48.0}
    return {
        "concurrency": concurrency,
        "hangs": 0,
        "ratios": {"requests_per_second": rate, "p99_ms": p99},
        "medians": {"ours": ours, "peer": ours},
    }


@pytest.fixture
def results(tmp_path: Path) -> Path:
    sweep = [
        {"concurrency": n, "requests_per_second": rate}
        for n, rate in ((1, 100.0), (16, 200.0), (256, 150.0))
    ]
    at = [run(n, ratio(10.0), ratio(1.0, "level")) for n in (1, 8, 32)]
    names = [*table.SAME_WORK, "multi_model_server_gluon", "multi_model_server_module"]
    peers = {name: {"runs": at, "sweep": {"ours": sweep}} for name in names}
    hung = {"concurrency": 8, "settled": False, "hangs": 3}
    peers["proof_of_concept"] = {"runs": [at[0], hung], "sweep": {}}
    level = run(32, ratio(1.0, "level"), ratio(1.0))
    peers["multi_model_server"] = {**peers["litserve"], "runs": [*at[:2], level]}
    peers["mlserver"] = {**peers["mlserver"], "runs": [run(8, ratio(0.8, "behind"), ratio(2.0))]}
    one = {"title": "Other", "ratios": {"forward_ms": ratio(0.85)}}
    base = {"title": "Ours", "ratios": {"forward_ms": ratio(1.0)}}
    for name, content in {
        "peers": {"peers": peers},
        "overhead": {"runs": [{"concurrency": 8, "medians": {}, **ratio(0.9)}]},
        "engines": {"grants": {"1": {"engines": {"onnxruntime": base, "other": one}}}},
        "cold_start": {"times_sooner": ratio(5.0), "memory": ratio(0.38)},
        "image_size": {
            "images": {"without_mxnet": {"ratio": 0.398}, "with_mxnet": {"ratio": 0.71}}
        },
    }.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path


def test_what_was_reached(results: Path) -> None:
    lines = table.table(results).splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    reached = {what: (measured, said) for what, measured, _, _, said in rows}
    assert reached["requests/s ÷ the proof of concept's, 8"] == ("it hung", "-")
    assert reached["requests/s ÷ the proof of concept's, 1"][1] == "goal"
    assert reached["requests/s against MLServer; 1, 8, 32"] == ("0.80 behind", "no")
    assert reached["requests/s against multi-model-server, our graph; 1, 8, 32"][1] == "no"
    assert reached["requests/s against LitServe; 1, 8, 32"][1] == "goal"
    assert reached["p99 against LitServe; 1, 8, 32"][1] == "least"
    assert reached["HTTP ÷ the pipeline in as many processes"] == (
        "0.90 (0.80 to 1.00)",
        "least, not settled",
    )
    assert reached["forward: Other's time ÷ ours"][1] == "least, not settled"
    assert reached["cold start: the proof of concept's ÷ ours"][1] == "no"
    assert reached["resident memory: ours ÷ its"][1] == "least, not settled"
    assert reached["image without MXNet ÷ its"] == ("0.40", "goal")
    assert reached["image with MXNet ÷ its"] == ("0.71", "no")
    assert reached["p99 ÷ p50, 8 connections"] == ("1.60", "least")
    assert reached["lowest ÷ highest requests/s, 16 to 256"] == ("0.75", "no")


def test_it_goes_where_the_file_marks(results: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n")
    assert table.main(["--results", str(results), "--into", str(page)]) == 0
    expected = f"before\n<!-- bench -->\n{table.table(results)}<!-- /bench -->\nafter\n"
    assert page.read_text() == expected
    page.write_text("no place")
    assert table.main(["--results", str(results), "--into", str(page)]) == 1


def test_the_readme_shows_what_was_measured() -> None:
    assert table.table(table.RESULTS) in (ROOT / "README.md").read_text()
