"""The engines that run an artifact's graph. The artifact decides which, so both targets agree."""

import logging
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

# onnxruntime reads it when imported, and else writes telemetry files and calls home.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np

from serving.artifact.symbol import find
from serving.core.errors import StartError, reason

# As numpy.typing defines it; importing that would lengthen a cold start.
Tensor = np.ndarray[Any, np.dtype[np.float32]]
Forward = Callable[[Tensor], Tensor]

_log = logging.getLogger(__name__)

# The NVIDIA Container Toolkit creates it in a container that has a GPU.
NVIDIA = Path("/dev/nvidiactl")
CUDA = 13  # the version that onnxruntime-gpu of requirements-cuda.txt was built for
# Equal answers before fast ones: no algorithm is chosen by timing it, which two processes could
# decide differently, and no convolution computes with 10 bits.
# https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#configuration-options
_ON_CUDA = {"cudnn_conv_algo_search": "DEFAULT", "use_tf32": "0"}


def load(folder: Path, threads: int) -> Forward:
    """Return a function from input (N, C, H, W) to logits (N, classes), for one caller at a time.

    `model.onnx` runs on ONNX Runtime, symbol and params alone on MXNet. Raises StartError.
    """
    compiled = folder / "model.onnx"
    return _load_onnx(compiled, threads) if compiled.exists() else _load_mxnet(folder)


def _load_onnx(path: Path, threads: int) -> Forward:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = open_session(path, options)
    name = session.get_inputs()[0].name
    outputs = [output.name for output in session.get_outputs()]
    if len(outputs) != 1:
        raise StartError(
            f"{path.name} has {len(outputs)} outputs ({', '.join(outputs)[:200]}); it must have one"
        )

    def forward(batch: Tensor) -> Tensor:
        logits: Tensor = session.run(None, {name: batch})[0]
        return logits

    return forward


def open_session(path: Path, options: Any) -> Any:
    """Return an `onnxruntime.InferenceSession`, on a GPU if there is one that can be used.

    Logs that a GPU is idle, since it costs as much as a busy one. Raises StartError.
    """
    import onnxruntime

    providers: list[Any] = ["CPUExecutionProvider"]
    if NVIDIA.exists():
        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            onnxruntime.preload_dlls()  # of the packages nvidia-*, where no linker looks
            providers.insert(0, ("CUDAExecutionProvider", _ON_CUDA))
        else:
            _log.warning("a GPU is here, and idle: this image was built without CUDA (WITH_CUDA=0)")
    options.log_severity_level = 4  # it would also print what it raises
    try:
        session = onnxruntime.InferenceSession(path, options, providers=providers)
    except Exception as error:  # onnxruntime's exceptions share no public base class
        raise StartError(f"{path.name} cannot be loaded: {reason(error)}") from None
    if len(providers) > 1 and "CUDAExecutionProvider" not in session.get_providers():
        _log.error(
            "a GPU is here, and idle: CUDA %d needs a driver of version 580 or later, and a GPU of "
            "2018 or later",
            CUDA,
        )
    return session


def _load_mxnet(folder: Path) -> Forward:
    symbols, weights = find(folder, "*symbol.json"), find(folder, "*.params")
    if not symbols or not weights:
        raise StartError(f"{folder} holds neither model.onnx nor a symbol and its params")
    symbol, params = symbols[0], weights[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated names, and types that it guesses rightly
        try:
            import mxnet as mx

            net = mx.gluon.SymbolBlock.imports(str(symbol), ["data"], str(params))
        except ImportError:
            raise StartError(
                f"{folder} holds no model.onnx, and this image was built without MXNet "
                "(WITH_MXNET=0)"
            ) from None
        except Exception as error:  # mxnet raises MXNetError, AssertionError, ValueError and others
            raise StartError(
                f"{symbol.name} and {params.name} cannot be loaded: {reason(error)}"
            ) from None
    net.hybridize(static_alloc=True, static_shape=True)

    def forward(batch: Tensor) -> Tensor:
        logits: Tensor = net(mx.nd.array(batch)).asnumpy()
        return logits

    return forward
