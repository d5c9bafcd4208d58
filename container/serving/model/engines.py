"""The engines that run an artifact's graph. The artifact selects one, so both targets agree."""

import logging
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

# onnxruntime reads this variable at import. Otherwise it writes and sends telemetry.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np

from serving.artifact.symbol import find
from serving.core.errors import StartError, reason

# numpy.typing has this type, but importing it would lengthen a cold start.
Tensor = np.ndarray[Any, np.dtype[np.float32]]
Forward = Callable[[Tensor], Tensor]

_log = logging.getLogger(__name__)

# The NVIDIA Container Toolkit creates this file in a container that has a GPU.
NVIDIA = Path("/dev/nvidiactl")
CUDA = 13  # the version for which onnxruntime-gpu in requirements-cuda.txt was built
# Equal answers matter more than speed. The default search would time algorithms, so two processes
# could choose different ones, and TF32 would compute with 10 bits.
# https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#configuration-options
_ON_CUDA = {"cudnn_conv_algo_search": "DEFAULT", "use_tf32": "0"}


def load(folder: Path, threads: int) -> Forward:
    """Return a function from input (N, C, H, W) to logits (N, classes), for one caller at a time.

    `model.onnx` runs on ONNX Runtime; a symbol with params runs on MXNet. Raises StartError.
    """
    compiled = folder / "model.onnx"
    return _load_onnx(compiled, threads) if compiled.exists() else _load_mxnet(folder)


def _load_onnx(path: Path, threads: int) -> Forward:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = open_session(path, options)
    name = session.get_inputs()[0].name
    outputs = [output.name for output in session.get_outputs()]
    if len(outputs) != 1:
        shown = ", ".join(outputs)[:200]
        raise StartError(f"{path.name} has {len(outputs)} outputs ({shown}); it must have one")
    return lambda batch: session.run(None, {name: batch})[0]


def open_session(path: Path, options: Any) -> Any:
    """Return an InferenceSession, on a GPU if one can be used. Raises StartError."""
    import onnxruntime

    providers: list[Any] = ["CPUExecutionProvider"]
    if NVIDIA.exists():
        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            onnxruntime.preload_dlls()  # the linker does not search the packages nvidia-*
            providers.insert(0, ("CUDAExecutionProvider", _ON_CUDA))
        else:
            _log.warning("the GPU is idle: this image was built without CUDA (WITH_CUDA=0)")
    options.log_severity_level = 4  # onnxruntime would also print the errors that it raises
    try:
        session = onnxruntime.InferenceSession(path, options, providers=providers)
    except Exception as error:  # onnxruntime's exceptions share no public base class
        raise StartError(f"{path.name} cannot be loaded: {reason(error)}") from None
    if len(providers) > 1 and "CUDAExecutionProvider" not in session.get_providers():
        needed = f"CUDA {CUDA} needs a driver of version 580 or later, and a GPU of 2018 or later"
        _log.error("the GPU is idle: %s", needed)
    return session


def _load_mxnet(folder: Path) -> Forward:
    symbols, weights = find(folder, "*symbol.json"), find(folder, "*.params")
    if not symbols or not weights:
        raise StartError(f"{folder} holds neither model.onnx nor a symbol and its params")
    symbol, params = symbols[0], weights[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MXNet uses deprecated names, and guesses types correctly
        try:
            import mxnet as mx

            net = mx.gluon.SymbolBlock.imports(str(symbol), ["data"], str(params))
        except ImportError:
            built = "this image was built without MXNet (WITH_MXNET=0)"
            raise StartError(f"{folder} holds no model.onnx, and {built}") from None
        except Exception as error:  # mxnet raises MXNetError, AssertionError, ValueError and others
            names = f"{symbol.name} and {params.name}"
            raise StartError(f"{names} cannot be loaded: {reason(error)}") from None
    net.hybridize(static_alloc=True, static_shape=True)
    return lambda batch: net(mx.nd.array(batch)).asnumpy()
