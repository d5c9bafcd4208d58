"""The default serving path does not load MXNet, which is retired (SECURITY.md)."""

import os
import shutil
from pathlib import Path

from soak.server import serving
from support.cases import PHOTOS


def libraries(*arguments: str) -> set[str]:
    """Return the engines that a worker has mapped after it answered a picture."""
    with serving({"WORKERS": "1"}, arguments=arguments) as server:
        reply = server.post((PHOTOS / "cat.jpg").read_bytes(), "image/jpeg")
        assert reply.status == 200, reply.body
        (worker,) = server.workers()
        maps = Path(f"/proc/{worker}/maps").read_text()
    return {name for name in ("libmxnet", "onnxruntime") if name in maps}


def test_only_an_artifact_without_graph_loads_mxnet(tmp_path: Path, artifact_folder: Path) -> None:
    assert libraries() == {"onnxruntime"}
    shutil.copy(artifact_folder / "model-symbol.json", tmp_path / "x-symbol.json")
    shutil.copy(artifact_folder / "model-0000.params", tmp_path / "x-0000.params")
    assert "libmxnet" in libraries("--model-path", os.fspath(tmp_path))
