"""The model: an ImageNet-style image classifier. Replace this file to serve another one.

The rest of the package needs two functions of it, and uses three more names where it finds them:

    load_model(model_path)      -> net      once a process, before the first request
    infer(request, net)         -> answer   a mapping that is JSON; raise a ServingError to refuse
    PAYLOAD_TYPES                           media types that arrive as `Payload`
    infer_batch(requests, net)  -> answers  in order, of two or more; where `infer` would raise an
                                            exception, that exception
    warm_up(net)                            one inference, at start and to prove health
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

from serving import logs
from serving.ahead import Ahead
from serving.artifact import resolve
from serving.classifier import Classifier
from serving.contract import Payload, Record
from serving.errors import MalformedRequest, ServingError, StartError, reason, without_locals
from serving.fetch import Fetcher
from serving.images import Tensor
from serving.labels import default_labels
from serving.settings import Settings

PAYLOAD_TYPES = frozenset({"image/jpeg", "image/png", "image/webp", "application/x-image"})
TOP = 5


class Net(NamedTuple):
    """A loaded model, and how to get what a `uri` points to, or what many of them do."""

    classifier: Classifier
    fetch: Fetcher
    ahead: Ahead


def load_model(model_path: str | Path | None = None) -> Net:
    """Load the artifact in the folder `model_path`, by default the one that the settings lead to.

    Raises StartError.
    """
    settings = Settings.from_environment(environ)
    folder = Path(model_path) if model_path else resolve(settings).folder
    classifier = Classifier.load(folder, settings.threads, logs.spent)
    return Net(classifier, Fetcher.from_settings(settings), Ahead())


def infer(request: Record | str, net: Net) -> dict[str, Any]:
    """The five most probable classes of one image.

    `request` is `{"uri": ...}`, a `Payload` of image bytes, or a bare URI. The answer is
    `{"uri": ..., "results": [{"label": ..., "prob": ...}, ...]}`, most probable first, `prob` as
    the shortest text that reads back as the same float32. Raises a ServingError.
    """
    return _classify(*_image(request, net.fetch), net.classifier)


def infer_batch(requests: Sequence[Record | str], net: Net) -> list[dict[str, Any] | Exception]:
    """What `infer` answers to each, or raises.

    Several are fetched at once, and each is inferred when it is there, whatever hangs before it. A
    forward still takes one picture, in its own turn: several in one are no faster, since their
    activations leave the CPU's cache, and other callers' pictures get their turns in between.
    """
    answers: list[dict[str, Any] | Exception] = [{} for _ in requests]
    jobs = [partial(_prepare, request, net) for request in requests]
    # Where nothing waits and one core does it all, another thread would cost 2 %.
    several = net.classifier.threads > 1 or any(map(_is_elsewhere, requests))
    for number, prepared in net.ahead(jobs) if several else enumerate(jobs):
        try:
            answers[number] = _classify(*prepared(), net.classifier)
        except Exception as error:
            answers[number] = without_locals(error)
    return answers


def warm_up(net: Net) -> None:
    """Answer about a small black image, so that no request pays for a first time.

    Raises StartError where the model cannot.
    """
    black = Payload(simplejpeg.encode_jpeg(np.zeros((8, 8, 3), np.uint8)), "image/jpeg")
    try:
        infer(black, net)
    except (ServingError, StartError):
        raise
    except Exception as error:  # an engine's
        raise StartError(f"the model fails on a small black image: {reason(error)}") from error


def _classify(uri: str, image: bytes | Tensor, classifier: Classifier) -> dict[str, Any]:
    found = classifier.probabilities(image)
    labels = classifier.labels or default_labels(len(found))
    if len(labels) != len(found):
        raise StartError(f"{len(labels)} labels for a model of {len(found)} classes")
    best = np.argsort(-found, kind="stable")[:TOP]
    return {"uri": uri, "results": [{"label": labels[i], "prob": str(found[i])} for i in best]}


def _prepare(request: Record | str, net: Net) -> tuple[str, bytes | Tensor]:
    uri, data = _image(request, net.fetch)
    return uri, net.classifier.prepare(data)


def _image(request: Record | str, fetch: Fetcher) -> tuple[str, bytes]:
    """The image's name in the answer, and its bytes."""
    if isinstance(request, Payload):
        return _digest(request.data), request.data
    uri = _uri(request)
    if not uri:
        raise MalformedRequest('a request must have "uri", a string')
    begun = perf_counter()
    try:
        data = fetch(uri)
    finally:
        logs.spent(fetch=perf_counter() - begun)
    return (uri if _is_elsewhere(request) else _digest(data)), data


def _is_elsewhere(request: Record | str) -> bool:
    uri = _uri(request)
    return bool(uri) and uri[:5].lower() != "data:"


def _uri(request: Record | str) -> str:
    """Empty where there is none."""
    if isinstance(request, Payload):
        return ""
    uri = request if isinstance(request, str) else request.get("uri")
    return uri if isinstance(uri, str) else ""


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
