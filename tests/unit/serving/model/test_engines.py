"""Check on which device a graph runs. A fake ONNX Runtime with CUDA replaces the GPU."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from serving.core.errors import StartError
from serving.model import engines

PICTURE = np.zeros((1, 3, 224, 224), np.float32)
CPU = "CPUExecutionProvider"


@pytest.fixture
def with_cuda(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Fake an ONNX Runtime with CUDA. `asked` holds a session's providers, `works` says whether
    CUDA starts, and `preloaded` whether its libraries were loaded."""
    seen: dict[str, Any] = {"works": True, "preloaded": False}
    session = onnxruntime.InferenceSession

    class Session:
        def __init__(self, path: Path, options: Any, providers: Any) -> None:
            seen["asked"] = providers
            self._on_cpu = session(path, options, providers=[CPU])

        def get_providers(self) -> list[str]:
            names = [p if isinstance(p, str) else p[0] for p in seen["asked"]]
            return names if seen["works"] else [CPU]

        def __getattr__(self, name: str) -> Any:
            return getattr(self._on_cpu, name)

    built_for = ["TensorrtExecutionProvider", "CUDAExecutionProvider", CPU]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: built_for)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: seen.update(preloaded=True))
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    return seen


@pytest.fixture
def with_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "nvidiactl").touch()
    monkeypatch.setattr(engines, "NVIDIA", tmp_path / "nvidiactl")


def test_an_image_for_gpus_runs_without_one(with_cuda: Any, artifact_folder: Path) -> None:
    forward = engines.load(artifact_folder, 1)
    assert with_cuda["asked"] == [CPU]
    assert not with_cuda["preloaded"]  # it would take a gigabyte from Lambda's memory
    assert forward(PICTURE).shape == (1, 1000)


@pytest.mark.usefixtures("with_gpu")
def test_a_gpu_is_the_first_provider(with_cuda: Any, artifact_folder: Path) -> None:
    forward = engines.load(artifact_folder, 1)
    (first, options), second = with_cuda["asked"]
    assert (first, second) == ("CUDAExecutionProvider", CPU)
    # Every process chooses the same convolutions, at full precision.
    assert options == {"cudnn_conv_algo_search": "DEFAULT", "use_tf32": "0"}
    assert with_cuda["preloaded"]
    assert forward(PICTURE).shape == (1, 1000)


@pytest.mark.usefixtures("with_gpu")
def test_an_idle_gpu_is_logged(
    artifact_folder: Path, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    assert engines.load(artifact_folder, 1)(PICTURE).shape == (1, 1000)
    request.getfixturevalue("with_cuda")["works"] = False
    assert engines.load(artifact_folder, 1)(PICTURE).shape == (1, 1000)
    without_cuda, too_old = caplog.records
    assert (without_cuda.levelno, too_old.levelno) == (logging.WARNING, logging.ERROR)
    assert "WITH_CUDA" in without_cuda.getMessage()
    assert "needs a driver of version 580" in too_old.getMessage()


def test_the_locked_packages_have_that_version_of_cuda() -> None:
    folder = Path(engines.__file__).parents[2]
    locked = (folder / "requirements-cuda.txt").read_text()
    assert f"nvidia-cudnn-cu{engines.CUDA}==" in locked
    assert f"nvidia-cuda-runtime=={engines.CUDA}." in locked
    # The same release gives the same answers on a CPU, with and without CUDA.
    assert f"onnxruntime-gpu=={onnxruntime.__version__} " in locked
    assert f"onnxruntime=={onnxruntime.__version__} " in (folder / "requirements.txt").read_text()


def test_a_graph_of_several_outputs_is_refused(
    monkeypatch: pytest.MonkeyPatch, artifact_folder: Path
) -> None:
    """A classifier of scikit-learn answers the class first, and then the probabilities."""
    outputs = [SimpleNamespace(name=name) for name in ("label", "probabilities")]
    monkeypatch.setattr(onnxruntime.InferenceSession, "get_outputs", lambda _: outputs)
    with pytest.raises(StartError, match=r"has 2 outputs \(label, probabilities\)"):
        engines.load(artifact_folder, 1)
