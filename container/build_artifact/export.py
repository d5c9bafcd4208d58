"""The exporter's half, in the environment that has MXNet, GluonCV and onnx.

`python -m build_artifact.export NAME FOLDER PHOTOS REFERENCE` writes the artifact into FOLDER, and
into the file REFERENCE what MXNet and GluonCV's own transform make of each photograph.
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

from build_artifact import efficientnet_lite, own_network
from serving import manifest, zoo
from serving.errors import StartError, reason

_onnx_make_tensor = onnx.helper.make_tensor


def export(name: str, folder: Path) -> zoo.Authored:
    """Write symbol, params, labels, manifest and the compiled graph. Raises StartError.

    A folder that has a network of its own gets what it lacks, the compiled graph.
    """
    if own_network.is_there(folder):
        authored = own_network.load(name, folder)
    else:
        authored = (
            efficientnet_lite.authored() if name == efficientnet_lite.NAME else zoo.pretrained(name)
        )
        zoo.write(authored, folder)
    _compile(authored, folder)
    return authored


def _compile(authored: zoo.Authored, folder: Path) -> None:
    target = folder / "model.onnx"
    try:
        with mock.patch.object(onnx.helper, "make_tensor", _make_tensor):
            mx.onnx.export_model(
                str(folder / "model-symbol.json"),
                str(folder / "model-0000.params"),
                [authored.input_shape],
                [np.float32],
                str(target),
            )
    except Exception as error:  # whatever an operator's converter raises: no common base
        raise StartError(f"{authored.name!r} cannot be exported to ONNX: {reason(error)}") from None
    graph = onnx.load(str(target))
    # The exporter lists the weights as inputs too, which keeps an engine from folding them.
    weights = {tensor.name for tensor in graph.graph.initializer}
    inputs = [value for value in graph.graph.input if value.name not in weights]
    del graph.graph.input[:]
    graph.graph.input.extend(inputs)
    onnx.checker.check_model(graph)
    onnx.save(graph, str(target))


def _make_tensor(
    name: str, data_type: int, dims: Sequence[int], vals: Any, raw: bool = False
) -> Any:
    """`onnx.helper.make_tensor` with the values as bytes.

    MXNet hands a weight over as a list of numbers, and protobuf 3 has no compiled code for Python
    3.11: a microsecond and a hundred bytes of memory for every number otherwise.
    """
    if not raw:
        vals = np.asarray(vals, onnx.helper.tensor_dtype_to_np_dtype(data_type)).tobytes()
    return _onnx_make_tensor(name, data_type, dims, vals, raw=True)


def reference(authored: zoo.Authored, photos: Path) -> dict[str, Any]:
    """MXNet's probabilities of every photograph in a folder, by file name."""
    made = authored.preprocessing
    probabilities = {}
    for photo in sorted(photos.iterdir()):
        if photo.suffix in (".jpg", ".png"):  # MXNet's own decoder knows no WebP
            batch = transform_eval(
                mx.image.imread(str(photo)),
                resize_short=made.resize_short,
                crop_size=made.crop,
                mean=made.mean,
                std=made.std,
            )
            probabilities[photo.name] = authored.net(batch).softmax()[0].asnumpy()
    return probabilities


def main(name: str, folder: str, photos: str, target: str) -> None:
    authored = export(name, Path(folder))
    facts = manifest.read(Path(folder))
    facts["exporter"] = f"mxnet {mx.__version__}, onnx {onnx.__version__}"
    manifest.write(Path(folder), facts)
    np.savez(target, **reference(authored, Path(photos)))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except StartError as failure:
        sys.exit(f"error: {failure}")
