"""The model: an ImageNet-style image classifier. Replace this file to serve another one.

The rest of the package needs two functions of it, and uses three more names where it finds them:

    load_model(model_path)      -> net      once a process, before the first request
    infer(request, net)         -> answer   a mapping that is JSON; raise a ServingError to refuse
    PAYLOAD_TYPES                           media types that arrive as `Payload`
    infer_batch(requests, net)  -> answers  a list, in order; a ServingError for a broken one
    warm_up(net)                            one inference, at start and to prove health
"""

import hashlib
from collections.abc import Mapping
from os import environ
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import simplejpeg

from serving.artifact import resolve
from serving.classifier import Classifier
from serving.contract import Payload
from serving.errors import MalformedRequest, StartError
from serving.fetch import Fetcher
from serving.labels import default_labels
from serving.settings import Settings

PAYLOAD_TYPES = frozenset({"image/jpeg", "image/png", "image/webp", "application/x-image"})
TOP = 5


class Net(NamedTuple):
    """A loaded model, and how to get what a `uri` points to."""

    classifier: Classifier
    fetch: Fetcher


def load_model(model_path: str | Path | None = None) -> Net:
    """Load the artifact in the folder `model_path`, by default the one that the settings lead to.

    Raises StartError.
    """
    settings = Settings.from_environment(environ)
    folder = Path(model_path) if model_path else resolve(settings).folder
    return Net(Classifier.load(folder, settings.threads), Fetcher.from_settings(settings))


def infer(request: Mapping[str, Any] | Payload | str, net: Net) -> dict[str, Any]:
    """The five most probable classes of one image.

    `request` is `{"uri": ...}`, a `Payload` of image bytes, or a bare URI. The answer is
    `{"uri": ..., "results": [{"label": ..., "prob": ...}, ...]}`, most probable first, `prob` as
    the shortest text that reads back as the same float32. Raises a ServingError.
    """
    uri, data = _image(request, net.fetch)
    found = net.classifier.probabilities(data)
    labels = net.classifier.labels or default_labels(len(found))
    if len(labels) != len(found):
        raise StartError(f"{len(labels)} labels for a model of {len(found)} classes")
    best = np.argsort(-found, kind="stable")[:TOP]
    return {"uri": uri, "results": [{"label": labels[i], "prob": str(found[i])} for i in best]}


def warm_up(net: Net) -> None:
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
