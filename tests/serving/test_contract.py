"""Parsing and rendering, as plain functions."""

import json

import pytest

from serving import contract
from serving.contract import MAX_DEPTH, Payload, Request, Shape, encode, parse, render, reply_type
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
        (b'{"n": NaN}', "a number that is not finite"),
        (b'{"n": -Infinity}', "a number that is not finite"),
        (b'{"n": 1e999}', "a number that is not finite"),
        (b'{"uri": "\xed\xa0\x80"}', "the body is not UTF-8"),
        (b"\xef\xbb\xbf{}", "the body is not JSON"),
        (b"\xff\xfe{\0}\0", "the body is not UTF-8"),
        (b'{"uri": "a\0b"}', "Invalid control character"),
        (b"{}{}", "Extra data"),
        (b"\0{}", "the body is not JSON"),
        (b"true", "not a boolean"),
        (b'"text"', "not a string"),
        (b"1.5", "not a number"),
    ],
)
def test_malformed_json(body: bytes, message: str) -> None:
    with pytest.raises(MalformedRequest, match=message):
        parsed(body)


def long(body: bytes, content_type: str = "application/json") -> contract.Call:
    request = Request("POST", "/invocations", {"content-type": content_type}, body)
    return parse(request, payload_types=(), max_body_bytes=10**6)


def test_an_integer_of_too_many_digits_is_malformed() -> None:
    """And is not answered with what Python says of it, which names its own functions."""
    assert long(b'{"n": ' + b"1" * 4300 + b"}").records
    with pytest.raises(MalformedRequest) as refusal:
        long(b'{"n": ' + b"1" * 4301 + b"}")
    assert refusal.value.message == "the body has a number that is not finite, or too long"


@pytest.mark.parametrize("stack", [0, 800])
@pytest.mark.parametrize(
    ("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"\\"]":', b"}]")]
)
def test_nesting_has_one_limit_however_much_stack_is_left(
    opening: bytes, closing: bytes, stack: int
) -> None:
    def parsed_below(frames: int, body: bytes) -> contract.Call:
        return parsed_below(frames - 1, body) if frames else long(body)

    fits = MAX_DEPTH // (opening.count(b"[") + opening.count(b"{"))
    inside = b'"\\\\[[[{{{"'
    assert parsed_below(stack, opening * fits + inside + closing * fits).records
    for body in (
        opening * (fits + 1) + inside + closing * (fits + 1),
        opening * 20_000,  # broken, but that is not looked for
        opening * 20_000 + b'"',
    ):
        with pytest.raises(MalformedRequest, match="the JSON is nested more than 64 deep"):
            parsed_below(stack, body)


def test_brackets_that_are_not_nested_are_not_counted() -> None:
    assert len(long(b"[" + b"{}," * 999 + b"{}]").records) == 1000
    assert long(b'{"uri": "' + b"[" * 1000 + b'"}').records == [{"uri": "[" * 1000}]
    assert long(rb'{"uri": "' + rb"\\\"[{" * 100 + rb'"}').records == [{"uri": '\\"[{' * 100}]


def test_a_line_that_is_nested_too_deeply_is_its_own_records_fault() -> None:
    good, bad = long(b"{}\n" + b"[" * 65 + b"]" * 65, "application/jsonlines").records
    assert good == {}
    assert isinstance(bad, MalformedRequest)


def test_of_members_of_the_same_name_the_last_counts() -> None:
    assert parsed(b'{"uri": 1, "uri": "x"}').records == [{"uri": "x"}]


def test_what_is_no_text_can_be_answered_all_the_same() -> None:
    (record,) = parsed(rb'{"uri": "\ud800\u0000"}').records
    assert isinstance(record, dict)
    body = render([encode(record)], Shape.ONE, contract.JSON).body
    assert body == rb'{"uri":"\ud800\u0000"}'
    assert b"\\ud800" in contract.render_error(MalformedRequest("\ud800")).body


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


@pytest.mark.parametrize(
    "accept",
    [
        "text/csv",
        "application/json;q=0",
        "*/*;q=nonsense",
        "*/*;q=nan",
        "*/*;q=inf",
        "*/*;q=2",
        "*/*;q=-1",
        "*/*;q=",
        "*/*;q=1_0",
    ],
)
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
