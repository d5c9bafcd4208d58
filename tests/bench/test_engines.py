"""The benchmark of engines: what ends it, what a grant costs, and what is made of the rounds."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import engines, plots, verdict
from bench.billing import memory_mb, usd_per_million
from bench.contenders import BASELINE, ENGINES, ENGINES_BY_NAME, Engine
from bench.engine_rounds import Case, EngineRound, environment_of
from bench.measured import WrongAnswer
from bench.quota import QuotaError, quota
from ops.faces import ROOT

# As our engine, but for the class of the first logit.
WRONG = """
from serving import engines
ours = engines.load
def load(folder, threads):
    forward = ours(folder, threads)
    def wrong(batch):
        logits = forward(batch).copy()
        logits[0, 0] += 1
        return logits
    return wrong
"""


def a_round(**changed: float) -> EngineRound:
    values = {
        "import_ms": 100.0,
        "load_ms": 50.0,
        "first_ms": 10.0,
        "warm_ms": 7.0,
        "warm_mean_ms": 7.5,
        "warm_billed_ms": 8.0,
        "forward_ms": 5.0,
        "peak_rss_mb": 120.0,
        "rss_mb": 110.0,
        "other_cpus": 0.0,
        "difference": 0.0,
    }
    return EngineRound(**{**values, **changed})


def test_a_wrong_answer_ends_it(
    tmp_path: Path,
    artifact_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "engine.py").write_text(WRONG)
    wrong = Engine(title="wrong", folder=str(tmp_path), packages=())
    sides = {"wrong": wrong, BASELINE: ENGINES_BY_NAME[BASELINE]}
    monkeypatch.setattr(engines, "ENGINES_BY_NAME", sides)
    monkeypatch.setattr(engines, "forward_limit", Unlimited())
    out = tmp_path / "engines.json"
    assert engines.main(["--quick", "--cpus", "none", "--out", str(out)]) == 1
    assert "error: [wrong] wrong answer: a probability differs by" in capsys.readouterr().out
    assert not out.exists()


class Unlimited:
    """In place of what would install an environment, and take seconds."""

    def freed_graph(self, artifact: Path) -> None: ...


def test_our_engine_passes_and_what_was_measured_is_written(
    tmp_path: Path, artifact_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "ENGINES_BY_NAME", {BASELINE: ENGINES_BY_NAME[BASELINE]})
    monkeypatch.setattr(engines, "forward_limit", Unlimited())
    out = tmp_path / "engines.json"
    arguments = ["--cpus", "none", "--rounds", "1", "--seconds", "0.05", "--out", str(out)]
    assert engines.main(arguments) == 0
    found = json.loads(out.read_text())
    assert {"machine", "prices", "engines", "grants", "quota_period_ms"} <= found.keys()
    assert found["quota_period_ms"] is None
    assert set(found["engines"][BASELINE]["versions"]) >= {"onnxruntime"}
    assert found["engines"][BASELINE]["installed_mb"] > 1
    assert len(found["grants"]["1"]["engines"][BASELINE]["rounds"]) == 1
    assert found["grants"]["1"]["cheapest"] == BASELINE


@pytest.mark.parametrize("found", [[0.5, 0.5 + 2e-5], [0.5], [0.5, float("nan")]])
def test_what_is_no_right_answer(found: list[float]) -> None:
    case = Case(b"", np.array([0.5, 0.5], np.float32))
    assert case.difference([0.5, 0.5 + 5e-6]) == pytest.approx(5e-6)
    with pytest.raises(WrongAnswer):
        case.difference(found)


def test_what_a_million_requests_cost() -> None:
    """By hand. 1769 MB are 1.7275390625 GB; 95 % of 8 ms and 5 % of 201 ms are 17.65 ms.

    1,000,000 * (1.7275390625 GB * 0.01765 s * 0.0000166667 + 0.0000002) = 0.508185 + 0.20 USD.
    """
    assert memory_mb(1) == 1769
    assert memory_mb(0.5) == 885  # 884 would be less than half a CPU
    assert usd_per_million(1, 8.0, 200.4) == pytest.approx(0.708185, abs=1e-6)
    assert usd_per_million(1, 8.0, 200.4, cold_share=0.0) == pytest.approx(0.430339, abs=1e-6)


def summary() -> dict[str, Any]:
    rounds = {
        BASELINE: [a_round()] * 3,
        "other": [a_round(load_ms=210.0, forward_ms=4.0, warm_ms=6.0, warm_billed_ms=7.0)] * 3,
    }
    return verdict.grant(1.0, rounds, {BASELINE: "ONNX Runtime", "other": "Other"})


def test_a_grants_summary() -> None:
    found = summary()
    assert (found["vcpus"], found["threads"], found["memory_mb"]) == (1.0, 1, 1769)
    ours, other = found["engines"][BASELINE], found["engines"]["other"]
    assert ours["medians"]["cold_ms"] == 160.0
    assert ours["ratios"]["usd_per_million"] == {"ratio": 1.0, "interval": [1.0, 1.0]}
    assert other["ratios"]["cold_ms"] == {"ratio": 2.0, "interval": [2.0, 2.0]}
    assert other["ratios"]["forward_ms"]["ratio"] == pytest.approx(0.8)
    cost = usd_per_million(1.0, 7.0, 320.0)
    assert other["medians"]["usd_per_million"] == pytest.approx(cost)
    assert len(other["rounds"]) == 3
    assert verdict.per_second(found)["other"] == pytest.approx(1000 / 6)


@pytest.mark.parametrize(
    ("costs", "best"),
    [
        ({"a": 1.0, "b": 0.9}, "b"),
        ({"a": 1.0, "b": 1.01}, "b"),  # level, and faster
        ({"a": 1.0, "b": 1.03}, "a"),
    ],
)
def test_the_cheapest_is_marked_and_a_tie_goes_to_the_faster(
    costs: Mapping[str, float], best: str
) -> None:
    found = {name: {"medians": {"usd_per_million": usd}} for name, usd in costs.items()}
    assert verdict.cheapest({"engines": found}, {"a": 100.0, "b": 120.0}) == best


def test_threads_follow_the_grant() -> None:
    assert [verdict.threads_of(vcpus) for vcpus in (0.5, 1, 2, 4)] == [1, 1, 2, 4]


def test_an_engine_gets_the_images_switches_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("MODEL_NAME", "another")
    found = environment_of(2)
    assert "OPENBLAS_CORETYPE" not in found
    assert found["OPENBLAS_NUM_THREADS"] == found["MALLOC_ARENA_MAX"] == "1"
    assert found["ORT_DISABLE_TELEMETRY"] == "1"
    assert found["OMP_NUM_THREADS"] == "2"
    assert found["MODEL_NAME"] == "efficientnet_lite0"


@pytest.mark.parametrize(
    ("there", "folder", "written"),
    [
        ("cgroup.controllers", "", {"cpu.max": "10000 20000"}),
        ("cpu/tasks", "cpu", {"cpu.cfs_period_us": "20000", "cpu.cfs_quota_us": "10000"}),
    ],
)
def test_a_quota_of_both_versions_is_set_and_removed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    there: str,
    folder: str,
    written: dict[str, str],
) -> None:
    removed: list[Path] = []

    def rmdir(folder: Path) -> None:
        """The kernel's files go with their folder; these would be in the way."""
        removed.append(folder)

    monkeypatch.setattr(Path, "rmdir", rmdir)
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).touch()
    with quota(0.5, tmp_path) as prefix:
        group = Path(prefix[-1]).parent
        assert group.parent == tmp_path / folder
        assert {path.name: path.read_text() for path in group.iterdir()} == written
        assert not removed
        subprocess.run([*prefix, "true"], check=True)
        assert Path(prefix[-1]).read_text().strip().isdigit()
    assert removed == [group]


def test_where_there_can_be_no_quota_it_is_said_in_a_line(tmp_path: Path) -> None:
    with (
        pytest.raises(QuotaError, match=r"run this as root, or with `--cpus none`"),
        quota(1.0, tmp_path / "nowhere"),
    ):
        pass


def test_more_than_the_machine_has_cannot_be_granted(capsys: pytest.CaptureFixture[str]) -> None:
    assert engines.main(["--cpus", "4096"]) == 1
    assert capsys.readouterr().out.startswith("error: --cpus 4096: ")


def test_the_limit_is_drawn(tmp_path: Path) -> None:
    forward = {
        "operations": 795_000_000,
        "peak_operations_per_second": 200e9,
        "limit_ms": 3.975,
        "engines": {
            BASELINE: {"title": "ONNX Runtime", "forward_ms": 5.0},
            "other": {"title": "Other", "forward_ms": 7.95},
        },
    }
    (tmp_path / "engines.json").write_text(json.dumps({"forward": forward}))
    assert plots.main(["--results", str(tmp_path)]) == 0
    drawn = (tmp_path / "forward.svg").read_text()
    assert "5.00 ms, 80% of the peak" in drawn
    assert "7.95 ms, 50% of the peak" in drawn
    assert "795 million operations at the 200 GFLOP/s" in drawn


def test_every_engine_has_our_decode_and_locked_requirements() -> None:
    pinned = {"numpy==1.23.5", "opencv-python-headless==4.11.0.86", "simplejpeg==1.9.0"}
    ours = (ROOT / "container" / "requirements.in").read_text()
    assert pinned <= {line.partition("  #")[0] for line in ours.splitlines()}
    for folder in {engine.folder for engine in ENGINES_BY_NAME.values()} - {BASELINE}:
        locked = (ENGINES / folder / "requirements.txt").read_text()
        assert pinned <= set(locked.replace(" \\", "").splitlines()), folder
        assert "--hash=sha256:" in locked
        assert "telemetry" not in locked
