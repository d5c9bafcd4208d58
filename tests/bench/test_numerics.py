"""How far answers may move between kernels: what can be held on any machine.

Other instruction sets need an emulator; `bench/numerics.py` has one, these tests do without.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import numerics
from bench.answers import TOLERANCE
from bench.numerics import against, write_pictures
from bench.sides import LEVELS, NATIVE, SWITCHED, THREADS, Record, Side, SideError, run
from bench.stages import STAGES
from build_artifact.__main__ import LIMIT as BUILDER_LIMIT

# Each library without its best kernels, all of them in one process.
SWITCHED_OFF = Side(
    "no best kernels",
    {name: value for side in SWITCHED for name, value in side.environment.items()},
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    assert write_pictures(folder, turned=False) >= 4
    assert {path.suffix for path in folder.iterdir()} == {".jpg", ".png", ".webp"}
    return folder


@pytest.fixture(scope="module")
def native(artifact_folder: Path, pictures: Path) -> Record:
    return run(NATIVE, artifact_folder, pictures)


def test_other_kernels_decode_and_resize_to_the_same_bits(
    native: Record, artifact_folder: Path, pictures: Path
) -> None:
    found = against(native, run(SWITCHED_OFF, artifact_folder, pictures))
    assert found["pixels"] == found["tensor"] == found["logits"] == 0
    assert found["probabilities"] <= TOLERANCE  # NumPy's exponential has its own kernels
    assert found["other_labels"] == 0
    # The switches were heard.
    assert not {"AVX2", "FMA3", "AVX512F"} & set(found["numpy"].split())
    assert {"*SSE4.1?", "*AVX2?", "*AVX512-SKX?"} <= set(found["opencv"].split())


@pytest.mark.parametrize("side", THREADS[:1], ids=lambda side: side.name)
def test_threads_move_nothing(
    native: Record, artifact_folder: Path, pictures: Path, side: Side
) -> None:
    found = against(native, run(side, artifact_folder, pictures))
    assert [found[stage] for stage in STAGES] == [0, 0, 0, 0]
    assert found["other_bytes"] == 0


@pytest.mark.parametrize("side", [LEVELS[0], LEVELS[-1]], ids=lambda side: side.name)
def test_other_kernels_of_the_engine_stay_within_the_limit(
    native: Record, artifact_folder: Path, pictures: Path, side: Side
) -> None:
    found = against(native, run(side, artifact_folder, pictures))
    assert found["pixels"] == found["tensor"] == 0
    assert found["logits"] > 0  # other kernels they were
    assert found["probabilities"] <= TOLERANCE
    assert found["other_labels"] == 0


def test_the_limit_is_the_builders() -> None:
    assert TOLERANCE == BUILDER_LIMIT


def recorded(**changed: object) -> Record:
    values: dict[str, Any] = {
        "pixels": np.full((2, 2, 3), 7, np.uint8),
        "tensor": np.zeros((1, 3, 2, 2), np.float32),
        "logits": np.zeros(2, np.float32),
        "probabilities": np.full(2, 0.5, np.float32),
        "answer": answer(a=0.5, b=0.5),
        **changed,
    }
    found = {f"cat.jpg/{stage}": np.array(value) for stage, value in values.items()}
    return {**found, "numpy": np.array("AVX"), "opencv": np.array("SSE")}


def answer(**classes: float) -> str:
    return json.dumps({"results": [{"label": k, "prob": str(v)} for k, v in classes.items()]})


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, {}),
        ({"pixels": np.full((2, 2, 3), 6, np.uint8)}, {"pixels": 1.0}),
        ({"pixels": np.full((2, 1, 3), 7, np.uint8)}, {"pixels": np.inf}),
        ({"tensor": np.full((1, 3, 2, 2), 0.5, np.float32)}, {"tensor": 0.5}),
        ({"logits": np.array([0, -2], np.float32)}, {"logits": 2.0}),
        ({"probabilities": np.array([0.75, 0.25], np.float32)}, {"probabilities": 0.25}),
        ({"answer": answer(a=0.75, b=0.25)}, {"other_bytes": 1}),
        ({"answer": answer(b=0.5, a=0.5)}, {"other_bytes": 1, "other_labels": 1}),
    ],
)
def test_what_moved_is_told_by_its_stage(
    changed: dict[str, object], expected: dict[str, float]
) -> None:
    nothing = dict.fromkeys((*STAGES, "other_bytes", "other_labels"), 0)
    said = {"numpy": "AVX", "opencv": "SSE"}
    assert against(recorded(), recorded(**changed)) == {**nothing, **said, **expected}


@pytest.fixture
def sides(monkeypatch: pytest.MonkeyPatch, artifact_folder: Path) -> dict[str, Record | SideError]:
    """The command, with records in place of processes: of a side by its name, or as native's."""
    records: dict[str, Record | SideError] = {}

    def run(side: Side, *_: Path) -> Record:
        record = records.get(side.name, recorded())
        if isinstance(record, SideError):
            raise record
        return record

    monkeypatch.setattr(numerics, "run", run)
    monkeypatch.setattr(numerics, "obey_image_settings", lambda: None)
    monkeypatch.setenv("MODEL_NAME", artifact_folder.name)
    monkeypatch.setenv("ARTIFACTS_DIR", str(artifact_folder.parent))
    monkeypatch.setattr("shutil.which", lambda _: None)
    return records


def test_without_the_emulator_it_says_what_it_left_out(
    sides: Mapping[str, Record], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "results" / "numerics.json"
    assert numerics.main(["--quick", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "NOT MEASURED: AVX2 and FMA, AVX, SSE 4.2; qemu-x86_64 is not on the PATH" in printed
    found = json.loads(out.read_text())
    assert found["emulator"] is None
    assert "2 threads" in found["sides"]
    assert "AVX2 and FMA" not in found["sides"]


def test_with_the_emulator_its_arithmetic_is_held_to_this_machines(
    sides: dict[str, Record],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(numerics, "_version", lambda _: "qemu-x86_64 version 7.2")
    sides["MXNet: AVX2, emulated"] = recorded(logits=np.array([0, 0.25], np.float32))
    out = tmp_path / "numerics.json"
    assert numerics.main(["--quick", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "MXNet: AVX2, emulated: the largest difference of a logit is 2.5e-01" in printed
    assert "NOT MEASURED" not in printed
    found = json.loads(out.read_text())
    assert found["emulator_control"]["logits"] == 0.25
    assert found["sides"]["AVX2 and FMA"]["cpu"] == "Haswell"


@pytest.mark.parametrize("moved", [2e-5, np.nan])
def test_a_probability_past_the_limit_ends_with_status_1(
    sides: dict[str, Record], capsys: pytest.CaptureFixture[str], moved: float
) -> None:
    sides["2 threads"] = recorded(probabilities=np.array([0.5 + moved, 0.5 - moved], np.float32))
    assert numerics.main(["--quick"]) == 1
    assert "error: 2 threads moves a probability by more than 1e-05" in capsys.readouterr().out


def test_a_side_that_cannot_be_run_is_one_line(
    sides: dict[str, Record | SideError], capsys: pytest.CaptureFixture[str]
) -> None:
    sides["MXNet"] = SideError("MXNet: ModuleNotFoundError: No module named 'mxnet'")
    assert numerics.main(["--quick"]) == 1
    assert "error: MXNet: ModuleNotFoundError: No module named 'mxnet'" in capsys.readouterr().out


def test_a_process_that_fails_says_why(artifact_folder: Path, pictures: Path) -> None:
    with pytest.raises(SideError, match=r"odd: AttributeError: .*NO_SUCH_LEVEL"):
        run(Side("odd", {"BENCH_GRAPH_LEVEL": "NO_SUCH_LEVEL"}), artifact_folder, pictures)
