"""Export a model in the environment that has MXNet, GluonCV and onnx.

`python -m build_artifact.export NAME FOLDER PHOTOS REFERENCE` writes the artifact into FOLDER, and
each photograph's probabilities by MXNet and GluonCV's own transform into the file REFERENCE.
"""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # both packages use names that later releases deprecated
    import mxnet as mx
    from gluoncv.data.transforms.presets.imagenet import transform_eval
import numpy as np
import onnx

from build_artifact import efficientnet_lite
from serving.artifact import labels, manifest, zoo
from serving.artifact.manifest import PROBABILITIES
from serving.artifact.preprocessing import Preprocessing
from serving.artifact.symbol import PARAMS, SYMBOL
from serving.core.errors import StartError, reason

_onnx_make_tensor = onnx.helper.make_tensor


def export(name: str, folder: Path) -> zoo.Authored:
    """Write symbol, params, labels, manifest and the compiled graph. Raises StartError.

    If the folder holds the user's own network, write only the compiled graph.
    """
    if (folder / SYMBOL).exists():
        authored = _own(name, folder)
    else:
        is_default = name == efficientnet_lite.NAME
        authored = efficientnet_lite.authored() if is_default else zoo.pretrained(name, folder)
        zoo.write(authored, folder)
    _compile(authored, folder)
    return authored


def _own(name: str, folder: Path) -> zoo.Authored:
    """Load the user's network, and run it once. Raises StartError."""
    made = Preprocessing.read(folder)
    files = str(folder / SYMBOL), ["data"], str(folder / PARAMS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MXNet guesses types correctly, but warns
            net = mx.gluon.SymbolBlock.imports(*files)
            net(mx.nd.ones(made.input_shape)).wait_to_read()
    except Exception as error:  # mxnet raises MXNetError, AssertionError, ValueError and others
        size = "x".join(map(str, made.input_shape))
        problem = f"MXNet cannot run {name!r} on one input called data, {size}"
        raise StartError(f"{problem}: {reason(error)}") from None
    return zoo.Authored(name, net, labels.read(folder), made)


def _compile(authored: zoo.Authored, folder: Path) -> None:
    target = str(folder / "model.onnx")
    files, shape = [str(folder / SYMBOL), str(folder / PARAMS)], authored.preprocessing.input_shape
    try:
        with mock.patch.object(onnx.helper, "make_tensor", _make_tensor):
            mx.onnx.export_model(*files, [shape], [np.float32], target)
    except Exception as error:  # an operator's converter may raise any exception
        raise StartError(f"{authored.name!r} cannot be exported to ONNX: {reason(error)}") from None
    graph = onnx.load(target)
    # The exporter lists the weights as inputs, too, so an engine could not fold them.
    weights = {tensor.name for tensor in graph.graph.initializer}
    inputs = [value for value in graph.graph.input if value.name not in weights]
    del graph.graph.input[:]
    graph.graph.input.extend(inputs)
    onnx.checker.check_model(graph)
    onnx.save(graph, target)


def _make_tensor(
    name: str, data_type: int, dims: Sequence[int], vals: Any, raw: bool = False
) -> Any:
    """Call `onnx.helper.make_tensor` with the values as bytes.

    MXNet passes a weight as a list of numbers. protobuf 3, which has no compiled code for Python
    3.11, would take a microsecond and a hundred bytes for each.
    """
    if not raw:
        vals = np.asarray(vals, onnx.helper.tensor_dtype_to_np_dtype(data_type)).tobytes()
    return _onnx_make_tensor(name, data_type, dims, vals, raw=True)


def reference(authored: zoo.Authored, photos: Path, is_softmax: bool) -> dict[str, Any]:
    """Return MXNet's probabilities for each photograph in a folder, by file name."""
    made = authored.preprocessing
    probabilities = {}
    for photo in sorted(photos.iterdir()):
        if photo.suffix in (".jpg", ".png"):  # MXNet cannot decode WebP
            pixels = mx.image.imread(str(photo))
            batch = transform_eval(pixels, made.resize_short, made.crop, made.mean, made.std)
            answer = authored.net(batch)
            probabilities[photo.name] = (answer if is_softmax else answer.softmax())[0].asnumpy()
    return probabilities


if __name__ == "__main__":
    name, folder, photos, target = sys.argv[1], *map(Path, sys.argv[2:])
    try:
        authored = export(name, folder)
    except StartError as failure:
        sys.exit(f"error: {failure}")
    exporter = f"mxnet {mx.__version__}, onnx {onnx.__version__}"
    facts = {**manifest.read(folder), "exporter": exporter}
    manifest.write(folder, facts)
    np.savez(target, **reference(authored, photos, facts.get("output") == PROBABILITIES))
