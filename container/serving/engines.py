"""The engines that run an artifact's graph. The artifact decides which, so both targets agree."""

import logging
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Read by onnxruntime at its import: without it, it writes telemetry files and calls home.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np

from serving.errors import StartError, reason

# As numpy.typing would spell it, whose import a cold start would pay for.
Tensor = np.ndarray[Any, np.dtype[np.float32]]
Forward = Callable[[Tensor], Tensor]

_log = logging.getLogger(__name__)

# What the NVIDIA Container Toolkit puts into a container that has a GPU; nobody else does.
NVIDIA = Path("/dev/nvidiactl")
CUDA = 13  # that onnxruntime-gpu of requirements-cuda.txt was built for
# For equal answers before fast ones: no convolution is chosen by a race, which two processes would
# decide differently, and none is of 10 bits.
# https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#configuration-options
_ON_CUDA = {"cudnn_conv_algo_search": "DEFAULT", "use_tf32": "0"}


def load(folder: Path, threads: int) -> Forward:
    """A function from input (N, C, H, W) to logits (N, classes), for one caller at a time.

    `model.onnx` runs on ONNX Runtime; a folder with only symbol and params runs on MXNet. Raises
    StartError when neither can be loaded.
    """
    compiled = folder / "model.onnx"
    return _load_onnx(compiled, threads) if compiled.exists() else _load_mxnet(folder)


def _load_onnx(path: Path, threads: int) -> Forward:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # it would say on stderr what it raises
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
    """An `onnxruntime.InferenceSession`: on a GPU where there is one, else on the CPU.

    What a GPU cannot do runs on the CPU, and all of it where the GPU cannot be used; the log says
    so, for the CPU beside a GPU costs what the GPU does. Raises StartError.
    """
    import onnxruntime

    providers: list[Any] = ["CPUExecutionProvider"]
    if NVIDIA.exists():
        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            onnxruntime.preload_dlls()  # of the packages nvidia-*, which no linker would look in
            providers.insert(0, ("CUDAExecutionProvider", _ON_CUDA))
        else:
            _log.warning("a GPU is here, and idle: this image was built without CUDA (WITH_CUDA=0)")
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
    symbol = next(folder.glob("*symbol.json"), None)
    params = next(folder.glob("*.params"), None)
    if not symbol or not params:
        raise StartError(f"{folder} holds neither model.onnx nor a symbol and its params")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names since deprecated; types that it guesses rightly
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
