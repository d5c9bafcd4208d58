"""MNN: `high` is f32, its `normal` may be less."""

from collections.abc import Callable
from pathlib import Path

import MNN
import numpy as np
from MNN import expr

Tensor = np.ndarray


def load(folder: Path, threads: int) -> Callable[[Tensor], Tensor]:
    settings = {"precision": "high", "backend": "CPU", "numThread": threads}
    runtime = MNN.nn.create_runtime_manager((settings,))
    model = str(folder / "model.mnn")
    net = MNN.nn.load_module_from_file(model, [], [], runtime_manager=runtime)

    def forward(batch: Tensor) -> Tensor:
        found = net.forward([expr.const(batch, list(batch.shape), expr.NCHW)])
        logits = found[0] if isinstance(found, list) else found
        return np.array(expr.convert(logits, expr.NCHW).read())

    return forward
