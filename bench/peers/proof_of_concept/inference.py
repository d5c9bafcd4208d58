"""The proof of concept's model, rebuilt from its description with MXNet and GluonCV.

It runs the exported symbol and params with GluonCV's evaluation transform, softmax and top 5.
"""

import json
import os
import warnings
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")  # mxnet 1.9.1 uses names that numpy has deprecated

import mxnet as mx  # noqa: E402 - after the line above
from gluoncv.data.transforms.presets.imagenet import transform_eval  # noqa: E402


def load_model() -> Any:
    folder = Path(os.environ["BENCH_ARTIFACT"])
    symbol, params = next(folder.glob("*symbol.json")), next(folder.glob("*.params"))
    net = mx.gluon.SymbolBlock.imports(str(symbol), ["data"], str(params), ctx=mx.cpu())
    # A zoo model has its class names; an exported model has them in a file.
    net.classes = (folder / "labels.txt").read_text().splitlines()
    preprocessing = json.loads((folder / "manifest.json").read_text())["preprocessing"]
    net.normalisation = {key: preprocessing[key] for key in ("mean", "std")}
    return net


def infer(data: bytes, net: Any, uri: str = "") -> dict[str, Any]:
    """Classify a picture. The comparison does not include a fetch, so `uri` is only returned."""
    tensor = transform_eval(mx.image.imdecode(data), **net.normalisation)
    found = mx.nd.softmax(net(tensor))[0]
    best = mx.nd.topk(found, k=5).astype("int").asnumpy().tolist()
    results = [{"label": net.classes[i], "prob": str(found[i].asscalar())} for i in best]
    return {"uri": uri, "results": results}
