"""The wire contract: what bytes mean, both ways. Nothing here does I/O.

`parse` turns a request's body into records for `infer`; `render` turns the answers back. Both
faces use these, so a status, a code or a byte cannot depend on the target.
"""

import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import accumulate
from typing import Any

from serving.errors import (
    MalformedRequest,
    NotAcceptable,
    ServingError,
    TooLarge,
    UnsupportedMediaType,
)

JSON = "application/json"
JSON_LINES = "application/jsonlines"
# The smallest record is two bytes, and each costs an answer: a body of them would cost minutes,
# which nobody but a Batch Transform job waits for.
MAX_RECORDS = 1000
# What Python's own parser takes depends on the stack that is left, so it would differ by face.
MAX_DEPTH = 64

_WEIGHT = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")  # RFC 9110, 12.4.2
_STEPS = bytes.maketrans(b"[{]}", b"\2\2\0\0")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[{]}"))


@dataclass(frozen=True)
class Request:
    """What a face received. Header names are in lower case.

    `problem` is why the body could not be received; it becomes the answer.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    problem: ServingError | None = None


@dataclass(frozen=True)
class Reply:
    """What a face sends back."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Payload:
    """A record that came as raw bytes, with its media type in lower case."""

    data: bytes
    content_type: str


Record = Mapping[str, Any] | Payload
# Encoded already, so that one answer that is no JSON spoils no other.
Answer = str | ServingError


class Shape(Enum):
    """How records lie in a body; answers go back the same way."""

    ONE = "one"
    ARRAY = "array"
    LINES = "lines"


@dataclass(frozen=True)
class Call:
    """A parsed body: records in order, a broken one as the error that its answer will be."""

    records: Sequence[Record | ServingError]
    shape: Shape


def parse(
    request: Request,
    *,
    payload_types: Collection[str],
    max_body_bytes: int,
    is_transform: bool = False,
) -> Call:
    """Read a `POST /invocations`.

    Raises TooLarge, UnsupportedMediaType or MalformedRequest when the whole body is at fault. A
    fault of one record among several is in `Call.records`, at that record's place. With
    `is_transform`, of a Batch Transform job, which fails as a whole when one request does, any
    number of records is taken, and a blank line is a record at fault.
    """
    max_records = max_body_bytes if is_transform else MAX_RECORDS
    if len(request.body) > max_body_bytes:
        raise TooLarge(f"the body is larger than {max_body_bytes} bytes")
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower() or JSON
    if content_type == JSON:
        value = _loads(request.body)
        if isinstance(value, list):
            _check_count(len(value), max_records)
            return Call([_record(item) for item in value], Shape.ARRAY)
        record = _record(value)
        if isinstance(record, ServingError):
            raise record
        return Call([record], Shape.ONE)
    if content_type == JSON_LINES:
        if not request.body.strip() and not is_transform:
            raise MalformedRequest("the body holds no line")
        body = request.body.removesuffix(b"\n")
        _check_count(body.count(b"\n") + 1, max_records)
        lines = body.split(b"\n")
        return Call([_line(line) for line in lines], Shape.LINES)
    if content_type in payload_types:
        if not request.body:
            raise MalformedRequest("the body is empty")
        return Call([Payload(request.body, content_type)], Shape.ONE)
    known = ", ".join([JSON, JSON_LINES, *sorted(payload_types)])
    raise UnsupportedMediaType(f"Content-Type {content_type!r} is not one of {known}")


def reply_type(accept: str, shape: Shape) -> str:
    """The media type of the answer: what `Accept` prefers, or what fits the request's shape.

    Raises NotAcceptable when the header allows neither JSON nor JSON lines (RFC 9110, 12.5.1).
    """
    natural = JSON_LINES if shape is Shape.LINES else JSON
    weights: dict[str, float] = {}
    for part in (accept or "*/*").split(","):
        media_range, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weight = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        weights[media_range] = float(weight) if _WEIGHT.fullmatch(weight) else 0.0

    def weigh(media_type: str) -> float:
        ranges = (media_type, "application/*", "*/*")
        return next((weights[name] for name in ranges if name in weights), 0.0)

    best = max((natural, JSON, JSON_LINES), key=weigh)  # the first of equals: the natural one
    if weigh(best) <= 0.0:
        raise NotAcceptable(f"Accept must allow {JSON} or {JSON_LINES}")
    return best


def encode(answer: object) -> str:
    """An answer as compact JSON. Raises ValueError or TypeError for what is none, such as NaN."""
    return json.dumps(answer, separators=(",", ":"), allow_nan=False)


def render(answers: Sequence[Answer], shape: Shape, media_type: str) -> Reply:
    """The reply to a call: one answer, or all of them in the order of their records.

    An error among several stands in its place. An error alone is `render_error`'s.
    """
    texts = [encode(a.as_answer()) if isinstance(a, ServingError) else a for a in answers]
    if media_type == JSON_LINES:
        body = "".join(f"{text}\n" for text in texts)
    else:
        body = texts[0] if shape is Shape.ONE else f"[{','.join(texts)}]"
    return Reply(200, body.encode(), (("Content-Type", media_type),))


def render_error(error: ServingError) -> Reply:
    body = encode(error.as_answer()).encode()
    return Reply(error.status, body, (("Content-Type", JSON), *error.headers))


def _check_count(records: int, most: int) -> None:
    if records > most:
        raise TooLarge(f"{records} records are more than {most}")


def _line(line: bytes) -> Record | ServingError:
    try:
        return _record(_loads(line))
    except MalformedRequest as error:
        return error


def _record(value: object) -> Record | ServingError:
    if isinstance(value, dict):
        return value
    return MalformedRequest(f"a request must be a JSON object, not {_json_name(value)}")


def _refuse_constant(_name: str) -> None:
    raise ValueError  # NaN, Infinity


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError
    return value


_decoder = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


def _loads(text: bytes) -> Any:
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        raise MalformedRequest(f"the JSON is nested more than {MAX_DEPTH} deep")
    try:
        return _decoder.decode(text.decode())
    except UnicodeDecodeError:
        raise MalformedRequest("the body is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise MalformedRequest(f"the body is not JSON: {error}") from None
    except ValueError:  # one of the above, or an integer of more than 4,300 digits
        raise MalformedRequest("the body has a number that is not finite, or too long") from None


def _depth(text: bytes) -> int:
    """How deep the brackets outside of strings are nested, as far as the text is JSON.

    Without escaped quotes every other piece between quotes is a string.
    """
    plain = text.replace(rb"\\", b"").replace(rb"\"", b"")
    steps = b"".join(plain.split(b'"')[::2]).translate(_STEPS, _NO_BRACKETS)
    return max(accumulate(steps, lambda depth, step: depth + step - 1, initial=0))


def _json_name(value: object) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string"}
    return names.get(type(value), "an array")
