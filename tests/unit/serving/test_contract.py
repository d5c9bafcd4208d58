"""Test parsing and rendering as plain functions."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from serving.core import contract
from serving.core.contract import MAX_DEPTH, Payload, Request, Shape, parse, reply_type
from serving.core.errors import MalformedRequest, NotAcceptable, ServingError, TooLarge
from serving.core.errors import UnsupportedMediaType as Unsupported


def parsed(
    body: bytes, content_type: str = "application/json", limit: int = 10**6
) -> Sequence[contract.Record | ServingError]:
    request = Request("POST", "/invocations", {"content-type": content_type}, body)
    records, _ = parse(request, payload_types={"image/jpeg"}, max_body_bytes=limit)
    return records


def test_a_picture_with_a_vague_type() -> None:
    request = Request("POST", "/invocations", {"content-type": "image/*"}, b"\xff\xd8\xff")
    types = {"image/jpeg", "application/x-image"}
    (record,) = parse(request, payload_types=types, max_body_bytes=10)[0]
    assert record == Payload(b"\xff\xd8\xff", "application/x-image")
    with pytest.raises((Unsupported, MalformedRequest)):  # a replaced model has its own types
        parse(request, payload_types={"image/jpeg"}, max_body_bytes=10)
    with pytest.raises((Unsupported, MalformedRequest)):
        parse(replace(request, body=b"GIF89a"), payload_types=types, max_body_bytes=10)


@pytest.mark.parametrize(
    ("encoding", "compression"),
    [
        *(("", ""), ("identity", ""), ("base64", ""), ("aws-chunked", ""), ("UTF-8", "")),
        *(("GZIP", "GZIP"), ("x-gzip", "gzip"), ("aws-chunked, br", "br"), ("zstd", "zstd")),
    ],
)
def test_compressions(encoding: str, compression: str) -> None:
    assert contract.compression_in(encoding) == compression


TOO_LONG = "^the body has a number that is not finite, or too long$"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"\xff", "the body is not UTF-8"),
        (b'{"n": NaN}', TOO_LONG),
        (b'{"n": 1e999}', TOO_LONG),
        (b'{"n": ' + b"1" * 4301 + b"}", TOO_LONG),  # Python's message would name its functions
        (b"\xef\xbb\xbf\xef\xbb\xbf{}", "the body is not JSON"),
    ],
)
def test_malformed_json(body: bytes, message: str) -> None:
    with pytest.raises(MalformedRequest, match=message):
        parsed(body)


@pytest.mark.parametrize("stack", [0, 800])
@pytest.mark.parametrize(
    ("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"\\"]":', b"}]")]
)
def test_the_limit_of_nesting_does_not_depend_on_the_stack(
    opening: bytes, closing: bytes, stack: int
) -> None:
    def parsed_below(frames: int, body: bytes) -> Sequence[contract.Record | ServingError]:
        return parsed_below(frames - 1, body) if frames else parsed(body)

    fits = MAX_DEPTH // (opening.count(b"[") + opening.count(b"{"))
    inside = b'"\\\\[[[{{{"'
    assert parsed_below(stack, opening * fits + inside + closing * fits)
    for body in (
        opening * (fits + 1) + inside + closing * (fits + 1),
        opening * 20_000,  # the depth is checked before the syntax
        opening * 20_000 + b'"',
    ):
        with pytest.raises(MalformedRequest, match="the JSON is nested more than 64 deep"):
            parsed_below(stack, body)


def test_brackets_that_are_not_nested_are_not_counted() -> None:
    assert len(parsed(b"[" + b"{}," * 999 + b"{}]")) == 1000
    assert parsed(b'{"uri": "' + b"[" * 1000 + b'"}') == [{"uri": "[" * 1000}]
    assert parsed(rb'{"uri": "' + rb"\\\"[{" * 100 + rb'"}') == [{"uri": '\\"[{' * 100}]


def test_the_size_is_checked_first() -> None:
    with pytest.raises(TooLarge):
        parsed(b"x" * 1001, "text/csv", limit=1000)
    with pytest.raises(Unsupported, match="text/csv"):
        parsed(b"x" * 1000, "text/csv", limit=1000)


def test_too_many_records_are_refused_before_reading_them() -> None:
    for body, content_type in (
        (b"[" + b"1," * 1000 + b"1]", "application/json"),
        (b"\n" * 1001 + b"{}", "application/jsonlines"),
    ):
        with pytest.raises(TooLarge, match="are more than 1000"):
            parsed(body, content_type)


def test_blank_lines_and_a_missing_last_line_feed() -> None:
    for body in (b"{}\n\n{}\n", b"{}\n\n{}"):
        first, blank, last = parsed(body, "application/jsonlines")
        assert first == last == {}
        assert isinstance(blank, MalformedRequest)


@pytest.mark.parametrize(
    ("accept", "shape", "expected"),
    [
        ("", Shape.ONE, "application/json"),
        ("*/*", Shape.LINES, "application/jsonlines"),
        ("application/json", Shape.LINES, "application/json"),
        ("APPLICATION/JSONLINES", Shape.ONE, "application/jsonlines"),
        ("text/html, */*;q=0.1", Shape.ONE, "application/json"),
        ("application/json;q=0.2, application/jsonlines;q=0.9", Shape.ONE, "application/jsonlines"),
        ("application/json;q=0, */*", Shape.ONE, "application/jsonlines"),
        ("text/html, *; q=.2", Shape.LINES, "application/jsonlines"),
        ("application/json;q=.2, application/jsonlines;q=3", Shape.ONE, "application/jsonlines"),
        ("*/*;q=nan", Shape.ONE, "application/json"),
    ],
)
def test_accept(accept: str, shape: Shape, expected: str) -> None:
    assert reply_type(accept, shape) == expected


@pytest.mark.parametrize(
    "accept", ["text/csv", "application/json;q=0", "*/*;q=0.000", "*;q=.0", "image/*, */*;q=0"]
)
def test_not_acceptable(accept: str) -> None:
    with pytest.raises(NotAcceptable):
        reply_type(accept, Shape.ONE)
