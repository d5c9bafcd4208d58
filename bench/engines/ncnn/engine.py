"""ncnn, of f32 weights and in f32 throughout."""

from collections.abc import Callable
from pathlib import Path

import ncnn
import numpy as np

Tensor = np.ndarray


def load(folder: Path, threads: int) -> Callable[[Tensor], Tensor]:
    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_packed = net.opt.use_bf16_storage = False
    net.load_param(str(folder / "model.ncnn.param"))
    net.load_model(str(folder / "model.ncnn.bin"))

    def forward(batch: Tensor) -> Tensor:
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(batch[0]))
        return np.array(extractor.extract("out0")[1])[None]

    return forward
