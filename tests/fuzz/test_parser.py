"""The parser and the renderer: any bytes are a call or an expected error, and nothing gets lost."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fuzz.bodies import TYPES, split
from fuzz.plan import fuzzed, saw
from serving import contract
from serving.contract import (
    JSON,
    JSON_LINES,
    MAX_DEPTH,
    MAX_RECORDS,
    Call,
    Payload,
    Request,
    Shape,
    encode,
    parse,
    render,
    reply_type,
)
from serving.errors import MalformedRequest, NotAcceptable, ServingError, TooLarge
from serving.inference import PAYLOAD_TYPES

TESTS = 6
LIMIT = 3000

# Whatever JSON can say, surrogates that stand alone included; an integer within Python's limit.
texts = st.text(st.characters(), max_size=20)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
records = st.dictionaries(texts | st.just("uri"), values, max_size=4)
scraps = st.sampled_from(
    split(
        rb'{|}|[|]|"|\|,|:|1|-|e9|NaN|null|"uri"| |\u|\ud800|'
        b"\xff|\xed\xa0\x80|\0|\n|\r|\xef\xbb\xbf"
    )
)
bodies = st.binary(max_size=200) | st.lists(scraps, max_size=60).map(b"".join)


def asked(body: bytes, content_type: str = JSON, limit: int = 10**7) -> Call | ServingError:
    request = Request("POST", "/invocations", {"content-type": content_type}, body)
    try:
        found: Call | ServingError = parse(
            request, payload_types=PAYLOAD_TYPES, max_body_bytes=limit
        )
    except ServingError as error:
        found = error
    saw("parser", [getattr(found, "status", 200)])
    return found


@fuzzed("parser", TESTS)
@given(bodies, st.sampled_from(TYPES) | texts)
def test_any_bytes_are_a_call_or_an_error(body: bytes, content_type: str) -> None:
    found = asked(body, content_type, LIMIT)
    if isinstance(found, ServingError):
        json.loads(contract.render_error(found).body)
        return
    for record in found.records:
        if isinstance(record, ServingError):
            assert found.shape is not Shape.ONE
            json.loads(encode(record.as_answer()))
        elif not isinstance(record, Payload):
            json.loads(encode(record))


@fuzzed("parser", TESTS)
@given(st.lists(records | values, max_size=6), st.booleans(), st.sampled_from(["", "\n", "\r\n"]))
def test_records_keep_their_order_and_their_values(
    written: list[Any], as_lines: bool, end: str
) -> None:
    if as_lines:
        body = "\n".join(map(json.dumps, written or [{}])) + end
        found = asked(body.encode(), JSON_LINES)
    else:
        found = asked(json.dumps(written).encode() + end.encode())
    assert isinstance(found, Call)
    for record, value in zip(found.records, written, strict=bool(written)):
        if isinstance(value, dict):
            assert record == value
        else:
            assert isinstance(record, MalformedRequest)


@fuzzed("parser", TESTS)
@given(st.lists(values, max_size=6), st.booleans(), st.booleans())
def test_answers_keep_their_order_and_their_values(
    given_answers: list[Any], broken: bool, as_lines: bool
) -> None:
    error = MalformedRequest("\ud800\n")
    answers = [error if broken and i % 2 else encode(v) for i, v in enumerate(given_answers)]
    reply = render(answers, Shape.ARRAY, JSON_LINES if as_lines else JSON)
    saw("parser", [reply.status])
    text = reply.body.decode("ascii")
    found = [json.loads(line) for line in text.split("\n")[:-1]] if as_lines else json.loads(text)
    assert found == [
        error.as_answer() if broken and i % 2 else v for i, v in enumerate(given_answers)
    ]


@fuzzed("parser", TESTS)
@given(
    st.lists(st.sampled_from(["[", '{"a":', '{"]\\"":']), min_size=1, max_size=2 * MAX_DEPTH), texts
)
def test_nesting_has_one_limit(openings: list[str], leaf: str) -> None:
    closings = ["]" if opening == "[" else "}" for opening in reversed(openings)]
    body = "".join(openings) + json.dumps(leaf) + "".join(closings)
    found = asked(body.encode())
    if len(openings) > MAX_DEPTH:
        assert isinstance(found, MalformedRequest)
        assert found.message == f"the JSON is nested more than {MAX_DEPTH} deep"
    elif isinstance(found, ServingError):
        assert "nested" not in found.message


@fuzzed("parser", TESTS)
@given(st.integers(-3, 3), st.sampled_from(["{}", "1", "[[]]", '"],["']), st.booleans())
def test_records_have_one_limit(beyond: int, record: str, as_lines: bool) -> None:
    number = MAX_RECORDS + beyond
    if as_lines:
        found = asked("\n".join([record] * number).encode(), JSON_LINES)
    else:
        found = asked(f"[{','.join([record] * number)}]".encode())
    if beyond > 0:
        assert isinstance(found, TooLarge)
    else:
        assert isinstance(found, Call) and len(found.records) == number


@fuzzed("parser", TESTS)
@given(
    st.lists(
        st.sampled_from(
            ["application/json", "*/*", "application/*", "text/csv", ";", "q=", "0", "1.5"]
        )
        | texts,
        max_size=12,
    ).map(lambda parts: ",".join(parts).replace(",;,", ";").replace("q=,", "q=")),
    st.sampled_from(Shape),
)
def test_any_accept_is_a_form_or_not_acceptable(accept: str, shape: Shape) -> None:
    try:
        assert reply_type(accept, shape) in (JSON, JSON_LINES)
    except NotAcceptable:
        saw("parser", [406])
    else:
        saw("parser", [200])
