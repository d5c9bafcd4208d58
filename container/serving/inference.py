"""The model: an ImageNet-style image classifier. Replace this file to serve another model.

The service needs two functions of this file and uses the other three names if they are there
(`serving.model.custom_model` describes them):

    load_model(model_path)      -> net      called once in each process, before the first request
    infer(request, net)         -> answer   a mapping that is JSON; raise a ServingError to refuse
    PAYLOAD_TYPES                           media types that arrive as `Payload`
    infer_batch(requests, net)  -> answers  answers two or more requests, in order; an exception
                                            replaces an answer where `infer` would raise it
    warm_up(net)                            runs one inference, at start and to prove health
"""

import hashlib
from collections.abc import Sequence
from functools import partial
from os import environ
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import simplejpeg

from serving.artifact.resolve import resolve
from serving.core import logs
from serving.core.contract import X_IMAGE, Payload, Record
from serving.core.errors import MalformedRequest, ServingError, StartError, reason, without_locals
from serving.core.settings import Settings
from serving.fetch.client import Fetcher
from serving.fetch.prefetch import Prefetcher
from serving.model.classifier import Classifier

PAYLOAD_TYPES = frozenset({"image/jpeg", "image/png", "image/webp", X_IMAGE})
TOP = 5


class Net(NamedTuple):
    """A loaded model, and the fetcher of the pictures that requests point to."""

    classifier: Classifier
    fetcher: Fetcher
    prefetcher: Prefetcher


def load_model(model_path: str | Path | None = None) -> Net:
    """Load the artifact in `model_path`, by default the settings'. Raises StartError."""
    settings = Settings.from_environment(environ)
    folder = Path(model_path) if model_path else resolve(settings).folder
    classifier = Classifier.load(folder, settings.threads)
    return Net(classifier, Fetcher.from_settings(settings), Prefetcher())


def infer(request: Record | str, net: Net) -> dict[str, Any]:
    """Return the five most probable classes of one image.

    `request` is `{"uri": ...}`, a `Payload` of image bytes, or a bare URI. The answer is
    `{"uri": ..., "results": [{"label": ..., "prob": ...}, ...]}`, most probable first. `prob` is
    the shortest text that reads back as the same float32. Raises a ServingError.
    """
    return _classify(*_image(request, net.fetcher), net.classifier)


def infer_batch(requests: Sequence[Record | str], net: Net) -> list[dict[str, Any] | Exception]:
    """Return what `infer` answers to each request, or the exception that it raises.

    Pictures are fetched concurrently and inferred one by one as they arrive. Larger batches are not
    faster, since their activations do not fit the CPU's cache.
    """
    answers: list[dict[str, Any] | Exception] = [{} for _ in requests]
    jobs = [partial(_image, request, net.fetcher) for request in requests]
    # Without a fetch, another thread would cost 2 %.
    is_fetched = any(map(_is_fetched, map(_uri, requests)))
    for number, image in net.prefetcher(jobs) if is_fetched else enumerate(jobs):
        try:
            answers[number] = _classify(*image(), net.classifier)
        except Exception as error:
            answers[number] = without_locals(error)
    return answers


def warm_up(net: Net) -> None:
    """Classify a small black image. Raises StartError if the model fails on it."""
    black = Payload(simplejpeg.encode_jpeg(np.zeros((8, 8, 3), np.uint8)), "image/jpeg")
    try:
        infer(black, net)
    except (ServingError, StartError):
        raise
    except Exception as error:  # an engine's
        raise StartError(f"the model fails on a small black image: {reason(error)}") from error


def _classify(uri: str, image: bytes, classifier: Classifier) -> dict[str, Any]:
    found = classifier.probabilities(image)
    labels = classifier.labels
    best = np.argsort(-found, kind="stable")[:TOP]
    return {"uri": uri, "results": [{"label": labels[i], "prob": str(found[i])} for i in best]}


def _image(request: Record | str, fetcher: Fetcher) -> tuple[str, bytes]:
    """Return the image's name in the answer, and its bytes."""
    uri, started = _uri(request), perf_counter()
    if isinstance(request, Payload):
        data = request.data
    elif not uri:
        raise MalformedRequest('a request must have "uri", a string')
    else:
        try:
            data = fetcher(uri)
        finally:
            logs.spent(fetch=perf_counter() - started)
    return uri if _is_fetched(uri) else f"sha256:{hashlib.sha256(data).hexdigest()}", data


def _uri(request: Record | str) -> str:
    """Return the request's `uri`, or an empty string."""
    if isinstance(request, Payload):
        return ""
    uri = request if isinstance(request, str) else request.get("uri")
    return uri if isinstance(uri, str) else ""


def _is_fetched(uri: str) -> bool:
    return bool(uri) and uri.lstrip()[:5].lower() != "data:"
