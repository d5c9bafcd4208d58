"""What each stage of the pipeline makes of some pictures: one process's record.

`python -m bench.stages ARTIFACT PICTURES OUT`: a process of its own, because the libraries choose
their kernels at import, from the CPU and from switches in the environment. BENCH_GRAPH_LEVEL (a
name of ONNX Runtime's GraphOptimizationLevel) stands for the level that the image leaves alone.
"""

import os
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

# NumPy 1.23 says it nowhere else; its own tests read it here.
from numpy.core._multiarray_umath import (  # type: ignore[import-not-found]
    __cpu_features__ as numpy_features,
)

from serving import contract, engines, inference
from serving.contract import Payload
from serving.images import decode

STAGES = ("pixels", "tensor", "logits", "probabilities")
SETS = ("SSE42", "AVX", "FMA3", "AVX2", "AVX512F")  # NumPy's names


@dataclass
class Watched:
    """An engine's forward that keeps what last went through it, and computes it only once."""

    forward: engines.Forward
    tensor: engines.Tensor = field(default_factory=lambda: np.empty(0, np.float32))
    logits: engines.Tensor = field(default_factory=lambda: np.empty(0, np.float32))

    def __call__(self, batch: engines.Tensor) -> engines.Tensor:
        if not np.array_equal(batch, self.tensor):
            self.tensor, self.logits = batch, self.forward(batch)
        return self.logits


def record(artifact: Path, pictures: Path, out: Path) -> None:
    """Write `<picture>/<stage>` and `<picture>/answer` of every picture in a folder, as an npz.

    With them `opencv` and `numpy`: the instruction sets that each of them found and may use.
    """
    if level := os.environ.get("BENCH_GRAPH_LEVEL"):
        _set_graph_level(level)
    net = inference.load_model(artifact)
    watched = Watched(net.classifier.forward)
    net = net._replace(classifier=replace(net.classifier, forward=watched))
    found: dict[str, Any] = {
        "opencv": cv2.getCPUFeaturesLine(),  # "?" follows what is not there, or switched off
        "numpy": " ".join(name for name in SETS if numpy_features.get(name)),
    }
    for path in sorted(pictures.iterdir()):
        data = path.read_bytes()
        answer = contract.encode(inference.infer(Payload(data, "application/x-image"), net))
        values = {
            "pixels": decode(data),
            "tensor": watched.tensor,
            "logits": watched.logits,
            "probabilities": net.classifier.probabilities(data),
        }
        found |= {f"{path.name}/{stage}": values[stage] for stage in STAGES}
        found[f"{path.name}/answer"] = answer
    np.savez(out, **found)


def _set_graph_level(name: str) -> None:
    """All else stays as engines.py has it: only the options that it will make are made here."""
    import onnxruntime

    made = onnxruntime.SessionOptions

    def options() -> Any:
        found = made()
        found.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, name)
        return found

    onnxruntime.SessionOptions = options


if __name__ == "__main__":
    record(*map(Path, sys.argv[1:]))
