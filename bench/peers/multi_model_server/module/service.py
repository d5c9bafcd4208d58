"""A handler of AWS's multi-model-server as its own MXNet examples write them.

Symbol and params become a module that is bound for one picture, as in the server's
`model_service/mxnet_model_service.py` (Apache-2.0), with this model's preprocessing: in theirs
the picture is resized without its proportions and not normalised, which gives other classes.
"""

import json
from pathlib import Path
from typing import Any

import mxnet as mx
from handling import handler, warm
from mms.utils.mxnet import image, ndarray

_INPUT = ("data", (1, 3, 224, 224))


class Classifier:
    def __init__(self, folder: Path) -> None:
        symbol, arguments, auxiliary = mx.model.load_checkpoint(str(folder / "model"), 0)
        self._labels = (folder / "labels.txt").read_text().splitlines()
        steps = json.loads((folder / "manifest.json").read_text())["preprocessing"]
        self._mean = mx.nd.array(steps["mean"]) * 255
        self._std = mx.nd.array(steps["std"]) * 255
        self._module = mx.mod.Module(symbol, data_names=[_INPUT[0]], label_names=None)
        self._module.bind([_INPUT], for_training=False)
        self._module.set_params(arguments, auxiliary, allow_missing=True, allow_extra=True)

    def __call__(self, data: bytes) -> Any:
        pixels = mx.image.resize_short(image.read(data), 256, interp=1)
        pixels, _ = mx.image.center_crop(pixels, (224, 224), interp=1)
        tensor = image.transform_shape(image.color_normalize(pixels, self._mean, self._std))
        self._module.forward(mx.io.DataBatch([tensor]), is_train=False)
        probabilities = mx.nd.softmax(self._module.get_outputs()[0])
        return ndarray.top_probability(probabilities, self._labels, top=5)


handle = handler(lambda: warm(Classifier))
