"""A handler of AWS's multi-model-server that holds a Gluon network, the simplest one.

After the server's `model_service/gluon_vision_service.py` (Apache-2.0), with this model's own
resize, crop and normalisation: theirs resizes without proportions, which gives other classes.
"""

import json
from pathlib import Path
from typing import Any

import mxnet as mx
from handling import handler, warm
from mms.utils.mxnet import ndarray


class Classifier:
    def __init__(self, folder: Path) -> None:
        symbol, params = str(folder / "model-symbol.json"), str(folder / "model-0000.params")
        self._net = mx.gluon.SymbolBlock.imports(symbol, ["data"], params, ctx=mx.cpu())
        self._labels = (folder / "labels.txt").read_text().splitlines()
        steps = json.loads((folder / "manifest.json").read_text())["preprocessing"]
        self._mean, self._std = mx.nd.array(steps["mean"]), mx.nd.array(steps["std"])

    def __call__(self, data: bytes) -> Any:
        pixels = mx.image.resize_short(mx.image.imdecode(data), 256, interp=1)
        pixels, _ = mx.image.center_crop(pixels, (224, 224), interp=1)
        scaled = mx.image.color_normalize(pixels.astype("float32") / 255, self._mean, self._std)
        output = self._net(mx.nd.transpose(scaled, (2, 0, 1)).expand_dims(axis=0))
        return ndarray.top_probability(output.softmax(), self._labels, top=5)


handle = handler(lambda: warm(Classifier))
