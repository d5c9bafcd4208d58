"""OpenVINO: latency's one stream, f32; with BENCH_CACHE, from the blob that cache.py made."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino

Tensor = np.ndarray


def compiled(folder: Path, threads: int, cache: str) -> openvino.CompiledModel:
    """`cache`: the folder of blobs, or nothing."""
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "NUM_STREAMS": 1,
        **({"CACHE_DIR": cache} if cache else {}),
    }
    return openvino.Core().compile_model(folder / "model.onnx", "CPU", settings)


def load(folder: Path, threads: int) -> Callable[[Tensor], Tensor]:
    cache = os.environ.get("BENCH_CACHE", "")
    model = compiled(folder, threads, cache)
    if cache and not model.get_property("LOADED_FROM_CACHE"):
        raise RuntimeError(f"the blob in {cache} is not of this model or CPU: remove the folder")
    request = model.create_infer_request()
    return lambda batch: request.infer([batch], share_inputs=True)[0]
