"""The exam: requests that a target must answer as the examiner's own pipeline does."""

import base64
import json
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from serving.artifact.manifest import read_file
from serving.artifact.resolve import Artifact, resolve
from serving.core.contract import IDENTITY, JSON, Reply, Request
from serving.core.errors import StartError, reason
from serving.core.settings import Settings, granted_cpus
from serving.service import Service, model_of

EXAM = "golden.json"
MAX_QUESTIONS = 16
_MAX_BYTES = 4 * 1024**2
_PHOTOS = Path(__file__).parents[2] / "photos"
_TOLERANCE = 1e-5  # between CPUs, probabilities of one artifact differ by at most 1e-6


@dataclass(frozen=True)
class Question:
    name: str
    content_type: str
    body: bytes


@cache
def answered() -> Sequence[tuple[Question, Reply]]:
    """Load the model, and return each question with its own answer. Raises StartError."""
    # A forward may use every CPU. MXNet reads the variable.
    os.environ.setdefault("OMP_NUM_THREADS", str(granted_cpus(os.environ)))
    try:
        settings = Settings.from_environment(os.environ)
        artifact, model = resolve(settings), model_of(settings)
        service = Service(settings, artifact, model)
        questions = of(artifact, model.payload_types)
        service.start()
    except Exception as error:  # a StartError, or any exception of a replaced load_model
        raise StartError(f"the examiner does not start: {reason(error)}") from error
    answers = []
    for question in questions:
        headers = {"content-type": question.content_type}
        reply = service.respond(Request("POST", "/invocations", headers, question.body))
        if reply.status >= 500:
            raise StartError(f"the examiner's own model fails on the exam's {question.name!r}")
        answers.append(reply)
    if all(answer.status != 200 for answer in answers):
        raise StartError("the examiner's own model answers no request of the exam with 200")
    return list(zip(questions, answers))


def of(artifact: Artifact, payload_types: Collection[str]) -> Sequence[Question]:
    """Return the artifact's own exam, or the one of picture classifiers. Raises StartError."""
    if (artifact.folder / EXAM).is_file():
        return read(artifact.folder / EXAM)
    if {"image/jpeg", "image/png"} <= set(payload_types):
        return _pictures()
    raise StartError(
        f"the artifact in {artifact.folder} has no exam, {EXAM}: `python -m ops package` writes it"
    )


def read(path: Path) -> Sequence[Question]:
    """Return the exam in a file. Raises StartError.

    The file holds an array of 1 to 16 objects: `name`, `content_type`, and `body` (a text) or
    `base64` (bytes).
    """
    try:
        written = json.loads(read_file(path, _MAX_BYTES))
        if not isinstance(written, list) or not 1 <= len(written) <= MAX_QUESTIONS:
            raise ValueError(f"it must be an array of 1 to {MAX_QUESTIONS} requests")
        return [_question(each) for each in written]
    except (ValueError, RecursionError) as error:
        raise StartError(f"{path} is not an exam: {error}") from None


def _question(written: Any) -> Question:
    match written:
        case {"name": str(name), "content_type": str(content_type), "body": str(body)}:
            return Question(name, content_type, body.encode())
        case {"name": str(name), "content_type": str(content_type), "base64": str(text)}:
            return Question(name, content_type, base64.b64decode(text, validate=True))
    raise ValueError("a request has name, content_type, and body or base64, all of them texts")


def _pictures() -> Sequence[Question]:
    """Return the exam of picture classifiers: photographs, drawn pictures and mistakes."""
    # Another model's image may lack these packages.
    import numpy as np
    import simplejpeg

    rows, columns = np.mgrid[0:240, 0:320].astype(np.uint8)
    gradient = np.dstack([rows, columns, rows ^ columns])
    noise = np.random.default_rng(7).integers(0, 256, (97, 131, 3), np.uint8)
    small = np.full((8, 8, 3), (200, 30, 30), np.uint8)
    cat = (_PHOTOS / "cat.jpg").read_bytes()
    uri = f"data:image/jpeg;base64,{base64.b64encode(simplejpeg.encode_jpeg(gradient)).decode()}"
    return [
        Question("a photograph of a cat", "image/jpeg", cat),
        Question("a photograph of a rocket", "image/jpeg", (_PHOTOS / "rocket.jpg").read_bytes()),
        Question("a gradient", "image/jpeg", simplejpeg.encode_jpeg(gradient, quality=90)),
        Question("noise", "image/jpeg", simplejpeg.encode_jpeg(noise, quality=95)),
        Question("a small square", "image/jpeg", simplejpeg.encode_jpeg(small)),
        Question("a data: URI", JSON, json.dumps({"uri": uri}).encode()),
        Question("half of a photograph", "image/jpeg", cat[: len(cat) // 2]),
        Question("a request without uri", JSON, b"{}"),
    ]


def difference(expected: Reply, given: Reply, *, of_bodies: bool = True) -> str:
    """Return the first difference in words, or an empty string. `given` may lack the identity."""
    if given.status != expected.status:
        return f"status {given.status} instead of {expected.status}"
    own, other = (dict(reply.headers).get(IDENTITY) for reply in (expected, given))
    if other not in (None, own):
        return f"it is {other!r} instead of {own!r}"
    if not of_bodies or given.body == expected.body:
        return ""
    return next(_differences(_value(expected.body), _value(given.body)), "")


def _value(body: bytes) -> Any:
    """Return JSON, a list for JSON lines, or the bytes themselves."""
    with suppress(ValueError):
        return json.loads(body)
    with suppress(ValueError):
        return [json.loads(line) for line in body.splitlines()]
    return body


def _differences(expected: Any, given: Any, place: str = "the answer") -> Iterator[str]:
    if isinstance(expected, dict) and isinstance(given, dict) and expected.keys() == given.keys():
        for name, value in expected.items():
            yield from _differences(value, given[name], name)
    elif isinstance(expected, list) and isinstance(given, list) and len(expected) == len(given):
        for one, other in zip(expected, given):
            yield from _differences(one, other, place)
    elif expected != given:
        one, other = _number(expected), _number(given)
        # The condition is negated because comparisons with NaN are false.
        if one is None or other is None or not abs(one - other) <= _TOLERANCE:
            yield f"{place} {_short(given)} instead of {_short(expected)}"


def _number(value: Any) -> float | None:
    """Return the number in a value or text, or None."""
    try:
        return None if isinstance(value, bool) else float(value)
    except (ValueError, TypeError):
        return None


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
