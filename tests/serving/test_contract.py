"""Parsing and rendering, as plain functions."""

import json

import pytest

from serving import contract
from serving.contract import Payload, Request, Shape, encode, parse, render, reply_type
from serving.errors import MalformedRequest, NotAcceptable, TooLarge, UnsupportedMediaType

LIMIT = 1000


def parsed(body: bytes, content_type: str = "application/json") -> contract.Call:
    request = Request("POST", "/invocations", {"content-type": content_type}, body)
    return parse(request, payload_types={"image/jpeg"}, max_body_bytes=LIMIT)


def test_an_object_is_one_record() -> None:
    assert parsed(b'{"uri": "x"}') == contract.Call([{"uri": "x"}], Shape.ONE)


def test_without_content_type_a_body_is_json() -> None:
    request = Request("POST", "/invocations", {}, b"{}")
    assert parse(request, payload_types=(), max_body_bytes=LIMIT).records == [{}]


def test_a_payload_keeps_its_bytes_and_its_type() -> None:
    assert parsed(b"\xff\xd8", "Image/JPEG; q=1").records == [Payload(b"\xff\xd8", "image/jpeg")]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is not JSON: Expecting value"),
        (b"\xff", "the body is not UTF-8"),
        (b"[" * 999, "the JSON is nested too deeply"),
        (b'{"n": NaN}', "NaN is no JSON number"),
        (b'{"n": 1e999}', "a number is too large"),
        (b"true", "not a boolean"),
        (b'"text"', "not a string"),
        (b"1.5", "not a number"),
    ],
)
def test_malformed_json(body: bytes, message: str) -> None:
    with pytest.raises(MalformedRequest, match=message):
        parsed(body)


def test_an_integer_of_too_many_digits_is_malformed() -> None:
    request = Request("POST", "/invocations", {}, b'{"n": ' + b"1" * 5000 + b"}")
    with pytest.raises(MalformedRequest, match="digits"):
        parse(request, payload_types=(), max_body_bytes=10_000)


def test_the_size_is_judged_first() -> None:
    with pytest.raises(TooLarge):
        parsed(b"x" * (LIMIT + 1), "text/csv")
    with pytest.raises(UnsupportedMediaType, match="text/csv"):
        parsed(b"x" * LIMIT, "text/csv")


def test_too_many_records_are_refused_before_any_is_read() -> None:
    for body, content_type in (
        (b"[" + b"1," * 1000 + b"1]", "application/json"),
        (b"\n" * 1001 + b"{}", "application/jsonlines"),
    ):
        request = Request("POST", "/invocations", {"content-type": content_type}, body)
        with pytest.raises(TooLarge, match="are more than 1000"):
            parse(request, payload_types=(), max_body_bytes=10**6)


def test_lines_may_end_or_not_and_a_blank_one_keeps_its_place() -> None:
    for body in (b"{}\n\n{}\n", b"{}\n\n{}"):
        first, blank, last = parsed(body, "application/jsonlines").records
        assert first == last == {}
        assert isinstance(blank, MalformedRequest)


@pytest.mark.parametrize(
    ("accept", "shape", "expected"),
    [
        ("", Shape.ONE, "application/json"),
        ("*/*", Shape.LINES, "application/jsonlines"),
        ("application/*", Shape.ARRAY, "application/json"),
        ("application/json", Shape.LINES, "application/json"),
        ("APPLICATION/JSONLINES", Shape.ONE, "application/jsonlines"),
        ("text/html, */*;q=0.1", Shape.ONE, "application/json"),
        ("application/json;q=0.2, application/jsonlines;q=0.9", Shape.ONE, "application/jsonlines"),
        ("application/json;q=0, */*", Shape.ONE, "application/jsonlines"),
        ("application/json; charset=utf-8", Shape.ONE, "application/json"),
    ],
)
def test_accept(accept: str, shape: Shape, expected: str) -> None:
    assert reply_type(accept, shape) == expected


@pytest.mark.parametrize("accept", ["text/csv", "application/json;q=0", "*/*;q=nonsense"])
def test_not_acceptable(accept: str) -> None:
    with pytest.raises(NotAcceptable):
        reply_type(accept, Shape.ONE)


def test_answers_keep_their_order_and_errors_their_place() -> None:
    answers = [encode({"a": 1}), MalformedRequest("no"), encode({"b": "é\n"})]
    error = {"error": {"code": "malformed_request", "message": "no"}}
    assert json.loads(render(answers, Shape.ARRAY, contract.JSON).body) == [
        {"a": 1},
        error,
        {"b": "é\n"},
    ]
    lines = render(answers, Shape.LINES, contract.JSON_LINES).body.split(b"\n")
    assert [json.loads(line) for line in lines[:-1]] == [{"a": 1}, error, {"b": "é\n"}]
    assert lines[-1] == b""


def test_a_number_that_is_no_json_is_not_sent() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode({"prob": float("nan")})
