"""The model: an ImageNet-style image classifier. Replace this file to serve another one.

The rest of the package needs two functions of it, and uses four more names where it finds them:

    load_model(model_path)      -> net      once a process, before the first request
    infer(request, net)         -> answer   a mapping that is JSON; raise a ServingError to refuse
    PAYLOAD_TYPES                           media types that arrive as `Payload`
    infer_batch(requests, net)  -> answers  a list, in order; a ServingError for a broken one
    warm_up(net)                            one inference, at start and to prove health
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from os import environ
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg

from serving import artifact, engines
from serving.contract import Payload
from serving.errors import MalformedRequest, StartError
from serving.fetch import Fetcher
from serving.images import Pixels, Transform, decode
from serving.settings import Settings

PAYLOAD_TYPES = frozenset({"image/jpeg", "image/png", "image/webp", "application/x-image"})

TOP = 5
_IMAGENET_PREPROCESSING = {
    "resize_short": 256,
    "crop": 224,
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
}


@dataclass(frozen=True)
class Classifier:
    """A loaded model: forward pass, input transform, the classes' names, and how to fetch."""

    forward: engines.Forward
    transform: Transform
    labels: tuple[str, ...]
    fetch: Fetcher


def load_model(model_path: str | Path | None = None) -> Classifier:
    """Load the artifact in the folder `model_path`, by default the one that the settings lead to.

    Raises StartError.
    """
    settings = Settings.from_environment(environ)
    folder = Path(model_path) if model_path else artifact.resolve(settings).folder
    manifest = artifact.read_manifest(folder)
    labels = folder / "labels.txt"
    return Classifier(
        forward=engines.load(folder),
        transform=Transform.from_manifest(manifest.get("preprocessing", _IMAGENET_PREPROCESSING)),
        labels=tuple(labels.read_text().splitlines()) if labels.exists() else (),
        fetch=Fetcher.from_settings(settings),
    )


def infer(request: Mapping[str, Any] | Payload | str, net: Classifier) -> dict[str, Any]:
    """The five most probable classes of one image.

    `request` is `{"uri": ...}`, a `Payload` of image bytes, or a bare URI. The answer is
    `{"uri": ..., "results": [{"label": ..., "prob": ...}, ...]}`, most probable first, `prob` as
    the shortest text that reads back as the same float32. Raises a ServingError.
    """
    uri, data = _image(request, net.fetch)
    found = probabilities(decode(data), net)
    labels = net.labels or _default_labels(len(found))
    if len(labels) != len(found):
        raise StartError(f"{len(labels)} labels for a model of {len(found)} classes")
    best = np.argsort(-found, kind="stable")[:TOP]
    return {"uri": uri, "results": [{"label": labels[i], "prob": str(found[i])} for i in best]}


def probabilities(pixels: Pixels, net: Classifier) -> engines.Tensor:
    """Every class's probability, shape (classes,), of one image's RGB pixels."""
    logits = net.forward(net.transform(pixels))[0]
    exponentials = np.exp(logits - logits.max())
    softmax: engines.Tensor = exponentials / exponentials.sum()
    return softmax


def warm_up(net: Classifier) -> None:
    """Answer about a small black image, so that no request pays for a first time."""
    infer(Payload(simplejpeg.encode_jpeg(np.zeros((8, 8, 3), np.uint8)), "image/jpeg"), net)


def _image(request: Mapping[str, Any] | Payload | str, fetch: Fetcher) -> tuple[str, bytes]:
    """The image's name in the answer, and its bytes."""
    if isinstance(request, Payload):
        return _digest(request.data), request.data
    uri = request if isinstance(request, str) else request.get("uri")
    if not isinstance(uri, str) or not uri:
        raise MalformedRequest('a request must have "uri", a string')
    data = fetch(uri)
    return (_digest(data) if uri[:5].lower() == "data:" else uri), data


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _default_labels(classes: int) -> tuple[str, ...]:
    """For an artifact without labels: ImageNet's where there are 1,000, else the indices."""
    if classes == 1000:
        return tuple((files("serving") / "imagenet_labels.txt").read_text().splitlines())
    return tuple(str(i) for i in range(classes))
