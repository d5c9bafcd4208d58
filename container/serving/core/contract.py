"""The wire contract. Nothing here does I/O.

`parse` turns a request's body into records for `infer`; `render` turns the answers into a body.
Both faces use them, so no status, code or byte depends on the target.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from serving.core import strict_json
from serving.core.errors import (
    MalformedRequest,
    NotAcceptable,
    ServingError,
    TooLarge,
    UnsupportedMediaType,
)

JSON = "application/json"
JSON_LINES = "application/jsonlines"
# The smallest record is two bytes, and each costs an inference: a body of them would take minutes,
# for which only a Batch Transform job waits.
MAX_RECORDS = 1000

X_IMAGE = "application/x-image"
IDENTITY = "X-Amzn-SageMaker-Custom-Attributes"  # the header that names image and model
# How a JPEG, PNG or WebP begins.
_PICTURE = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF.{4}WEBP", re.DOTALL)
# What clients send who were told no type. The third is S3's, the last is curl's.
_VAGUE_TYPES = frozenset(
    {
        "",
        "application/octet-stream",
        "binary/octet-stream",
        "application/x-www-form-urlencoded",
    }
)
_COMPRESSIONS = re.compile(r"\b(gzip|deflate|br|zstd|compress)\b", re.IGNORECASE)
_JSON_NAMES = {
    **{type(None): "null", bool: "a boolean", str: "a string", list: "an array"},
    **{int: "a number", float: "a number"},
}
_WEIGHT = re.compile(r"[0-9]+\.?[0-9]*|\.[0-9]+")


@dataclass(frozen=True)
class Request:
    """A request as a face received it. Header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    problem: ServingError | None = None  # why the body could not be received: the reply


@dataclass(frozen=True)
class Reply:
    """The reply that a face sends."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    code: str = ""  # of an error
    has_identity: bool = False  # another target's reply: its headers name its image, if it is known


@dataclass(frozen=True)
class Payload:
    """A record of raw bytes, with its media type in lower case."""

    data: bytes
    content_type: str


Record = Mapping[str, Any] | Payload
# Encoded already, so that an answer that is not JSON fails alone.
Answer = str | ServingError


class Shape(Enum):
    """The form of a body's records, which is also that of the answers."""

    ONE = "one"
    ARRAY = "array"
    LINES = "lines"


def parse(
    request: Request,
    *,
    payload_types: Collection[str],
    max_body_bytes: int,
    is_transform: bool = False,
) -> tuple[Sequence[Record | ServingError], Shape]:
    """Return the records in the body of a `POST /invocations`, each broken one as its error.

    Raises a ServingError if the whole body is wrong, or its only record. A Batch Transform job
    (`is_transform`) fails as a whole when one request fails, so it may send any number of records,
    and a body without a line is a record with an error.
    """
    max_records = max_body_bytes if is_transform else MAX_RECORDS
    if len(request.body) > max_body_bytes:
        raise TooLarge(f"the body is larger than {max_body_bytes} bytes")
    if compression := compression_in(request.headers.get("content-encoding", "")):
        raise UnsupportedMediaType(
            f"Content-Encoding {compression!r} is not supported: send the body uncompressed"
        )
    content_type = _content_type(request, payload_types)
    if content_type == JSON:
        value = strict_json.loads(request.body)
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
        lines = body.split(b"\n")
        return [_line(line) for line in lines], Shape.LINES
    if content_type in payload_types:
        if not request.body:
            raise MalformedRequest("the body is empty")
        return [Payload(request.body, content_type)], Shape.ONE
    known = ", ".join([JSON, JSON_LINES, *sorted(payload_types)])
    raise UnsupportedMediaType(f"Content-Type {content_type!r} is not one of {known}")


def _content_type(request: Request, payload_types: Collection[str]) -> str:
    """Return the media type of the body, which is a picture's if it begins like one."""
    named = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_vague = named in _VAGUE_TYPES or (named.startswith("image/") and named not in payload_types)
    if is_vague and X_IMAGE in payload_types and _PICTURE.match(request.body):
        return X_IMAGE
    return named or JSON


def compression_in(content_encoding: str) -> str:
    """Return the compression that a `Content-Encoding` names, or an empty string.

    AWS's SDKs store other codings, `aws-chunked` and `base64`, with objects that are neither.
    """
    found = _COMPRESSIONS.search(content_encoding)
    return found[0] if found else ""


def reply_type(accept: str, shape: Shape) -> str:
    """Return the media type that `Accept` prefers, by default the one of the request's shape.

    A weight that is not valid counts as 1, and `*` is `*/*`, as Java sends it. Raises NotAcceptable
    if the header allows neither JSON nor JSON lines (RFC 9110, 12.5.1).
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

    best = max((natural, JSON, JSON_LINES), key=weigh)  # of equals the first, the natural one
    if weigh(best) <= 0.0:
        raise NotAcceptable(f"Accept must allow {JSON} or {JSON_LINES}")
    return best


def encode(answer: object) -> str:
    """Return compact JSON. Raises ValueError or TypeError for what is not JSON, such as NaN."""
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
        raise TooLarge(f"{records} records are more than {most}")


def _line(line: bytes) -> Record | ServingError:
    try:
        return _record(strict_json.loads(line))
    except MalformedRequest as error:
        return error


def _record(value: object) -> Record | ServingError:
    if isinstance(value, dict):
        return value
    return MalformedRequest(f"a request must be a JSON object, not {_JSON_NAMES[type(value)]}")
