"""The wire contract. Nothing here does I/O.

`parse` turns a request's body into records for `infer`; `render` turns the answers into a body.
Both faces use them, so no status, code or byte depends on the target.
"""

import json
import math
import re
from codecs import BOM_UTF8
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import accumulate
from typing import Any

from serving.core import errors
from serving.core.errors import MalformedRequest, ServingError

JSON, JSON_LINES = "application/json", "application/jsonlines"
X_IMAGE = "application/x-image"
IDENTITY = "X-Amzn-SageMaker-Custom-Attributes"  # the header that names image and model
# A record can be as small as two bytes and costs an inference, so a full body would take minutes.
# Only a Batch Transform job waits that long.
MAX_RECORDS = 1000
# The largest depth of JSON. Python's parser allows a depth that depends on the remaining stack, so
# it differs between faces.
MAX_DEPTH = 64

# The first bytes of a JPEG, PNG or WebP.
_PICTURE = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF.{4}WEBP", re.DOTALL)
# The types that clients send by default. The third is S3's, the last is curl's.
_VAGUE_TYPES = frozenset(
    ("", "application/octet-stream", "binary/octet-stream", "application/x-www-form-urlencoded")
)
_COMPRESSIONS = re.compile(r"\b(gzip|deflate|br|zstd|compress)\b", re.IGNORECASE)
_JSON_NAMES = {type(None): "null", bool: "a boolean", str: "a string", list: "an array"}
_WEIGHT = re.compile(r"[0-9]+\.?[0-9]*|\.[0-9]+")
_STEPS = bytes.maketrans(b"[{]}", b"\2\2\0\0")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[{]}"))


@dataclass(frozen=True)
class Request:
    """A request as a face received it, with header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    problem: ServingError | None = None  # the reply, if the body could not be received


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    code: str = ""  # the error's
    has_identity: bool = False  # True for another target's reply, which names its own image


@dataclass(frozen=True)
class Payload:
    """A record of raw bytes, with its media type in lower case."""

    data: bytes
    content_type: str


Record = Mapping[str, Any] | Payload
# An answer is encoded on its own, so that one that is not JSON fails alone.
Answer = str | ServingError


# The form of a body's records, and of the answers.
Shape = Enum("Shape", ["ONE", "ARRAY", "LINES"])


def parse(
    request: Request,
    *,
    payload_types: Collection[str],
    max_body_bytes: int,
    is_transform: bool = False,
) -> tuple[Sequence[Record | ServingError], Shape]:
    """Return the records in the body of a `POST /invocations`, with errors for malformed records.

    Raises a ServingError if the whole body, or its only record, is malformed. One failed request
    fails a Batch Transform job (`is_transform`), so a job may send any number of records, and an
    empty body is one malformed record.
    """
    max_records = max_body_bytes if is_transform else MAX_RECORDS
    if len(request.body) > max_body_bytes:
        raise errors.TooLarge(f"the body is larger than {max_body_bytes} bytes")
    if compression := compression_in(request.headers.get("content-encoding", "")):
        raise errors.UnsupportedMediaType(
            f"Content-Encoding {compression!r} is not supported: send the body uncompressed"
        )
    content_type = _content_type(request, payload_types)
    if content_type == JSON:
        value = loads(request.body)
        if isinstance(value, list):
            _check_count(len(value), max_records)
            return [_record(item) for item in value], Shape.ARRAY
        record = _record(value)
        if isinstance(record, ServingError):
            raise record
        return [record], Shape.ONE
    if content_type == JSON_LINES:
        if not request.body.strip() and not is_transform:
            raise MalformedRequest("the body holds no line")
        body = request.body.removesuffix(b"\n")
        _check_count(body.count(b"\n") + 1, max_records)
        return [_line(line) for line in body.split(b"\n")], Shape.LINES
    if content_type in payload_types:
        if not request.body:
            raise MalformedRequest("the body is empty")
        return [Payload(request.body, content_type)], Shape.ONE
    known = ", ".join([JSON, JSON_LINES, *sorted(payload_types)])
    raise errors.UnsupportedMediaType(f"Content-Type {content_type!r} is not one of {known}")


def _content_type(request: Request, payload_types: Collection[str]) -> str:
    """Return the body's media type. For a vague type, the first bytes decide."""
    named = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_vague = named in _VAGUE_TYPES or (named.startswith("image/") and named not in payload_types)
    if is_vague and X_IMAGE in payload_types and _PICTURE.match(request.body):
        return X_IMAGE
    return named or JSON


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


_decoder = json.JSONDecoder(parse_constant=_finite, parse_float=_finite)  # constants: NaN, Infinity


def loads(text: bytes) -> Any:
    """Parse RFC 8259 JSON, with or without a byte order mark. Raises MalformedRequest."""
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        raise MalformedRequest(f"the JSON is nested more than {MAX_DEPTH} deep")
    try:
        return _decoder.decode(text.removeprefix(BOM_UTF8).decode())
    except UnicodeDecodeError:
        raise MalformedRequest("the body is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise MalformedRequest(f"the body is not JSON: {error}") from None
    except ValueError:  # from `_finite`, or an integer of more than 4,300 digits
        raise MalformedRequest("the body has a number that is not finite, or too long") from None


def _depth(text: bytes) -> int:
    """Return the depth of brackets outside strings, if the text is JSON.

    Without escaped quotes, every other piece between quotes is a string.
    """
    plain = text.replace(rb"\\", b"").replace(rb"\"", b"")
    steps = b"".join(plain.split(b'"')[::2]).translate(_STEPS, _NO_BRACKETS)
    return max(accumulate(steps, lambda depth, step: depth + step - 1, initial=0))


def compression_in(content_encoding: str) -> str:
    """Return the compression that a `Content-Encoding` names, or an empty string.

    Other codings are ignored: AWS's SDKs store `aws-chunked` and `base64` with plain objects.
    """
    found = _COMPRESSIONS.search(content_encoding)
    return found[0] if found else ""


def reply_type(accept: str, shape: Shape) -> str:
    """Return the media type that `Accept` prefers, by default the one of the request's shape.

    An invalid weight counts as 1, and Java's `*` as `*/*`. Raises NotAcceptable if the header
    allows neither JSON nor JSON lines (RFC 9110, 12.5.1).
    """
    natural = JSON_LINES if shape is Shape.LINES else JSON
    weights: dict[str, float] = {}
    for part in (accept or "*/*").split(","):
        media_range, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weight = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        weights[media_range] = float(weight) if _WEIGHT.fullmatch(weight) else 1.0

    def weigh(media_type: str) -> float:
        ranges = (media_type, "application/*", "*/*", "*")
        return next((weights[name] for name in ranges if name in weights), 0.0)

    best = max((natural, JSON, JSON_LINES), key=weigh)  # `max` returns the first of equals
    if weigh(best) <= 0.0:
        raise errors.NotAcceptable(f"Accept must allow {JSON} or {JSON_LINES}")
    return best


def encode(answer: object) -> str:
    """Return compact JSON. Raises ValueError or TypeError for values without JSON, such as NaN."""
    return json.dumps(answer, separators=(",", ":"), allow_nan=False)


def render(answers: Sequence[Answer], shape: Shape, media_type: str) -> Reply:
    """Return the reply to a call, with the answers and errors in the order of their records."""
    texts = [encode(a.as_answer()) if isinstance(a, ServingError) else a for a in answers]
    if media_type == JSON_LINES:
        body = "".join(f"{text}\n" for text in texts)
    else:
        body = texts[0] if shape is Shape.ONE else f"[{','.join(texts)}]"
    return Reply(200, body.encode(), (("Content-Type", media_type),))


def render_error(error: ServingError) -> Reply:
    """Return the reply to a request that failed as a whole."""
    body = encode(error.as_answer()).encode()
    return Reply(error.status, body, (("Content-Type", JSON), *error.headers), error.code)


def _check_count(records: int, most: int) -> None:
    if records > most:
        raise errors.TooLarge(f"{records} records are more than {most}")


def _line(line: bytes) -> Record | ServingError:
    try:
        return _record(loads(line))
    except MalformedRequest as error:
        return error


def _record(value: object) -> Record | ServingError:
    if isinstance(value, dict):
        return value
    kind = _JSON_NAMES.get(type(value), "a number")
    return MalformedRequest(f"a request must be a JSON object, not {kind}")
