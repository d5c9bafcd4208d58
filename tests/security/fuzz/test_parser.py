"""The parser, renderer and decoder handle any bytes; records keep their order and values."""

import json
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from security.fuzz.bodies import PICTURES, TYPES, dices, mutated
from security.fuzz.plan import fuzzed, saw
from serving.artifact.preprocessing import Preprocessing
from serving.core import contract
from serving.core.contract import JSON, JSON_LINES, Payload, Record, Request, Shape, encode
from serving.core.errors import MalformedRequest, ServingError, UndecodableImage
from serving.inference import PAYLOAD_TYPES
from serving.model.image_headers import MAX_PIXELS
from serving.model.images import Transform, decode

# Any JSON, including lone surrogates; integers stay within Python's limit.
texts = st.text(st.characters(), max_size=20)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
records = st.dictionaries(texts | st.just("uri"), values, max_size=4)
scraps = st.sampled_from(
    rb'{ } [ ] " \ : , 1 - e9 NaN null "uri" \u \ud800'.split(b" ")
    + b" |\xff|\xed\xa0\x80|\0|\n|\r|\xef\xbb\xbf".split(b"|")
)
openings = st.lists(st.sampled_from([b"[", b'{"a":', b'{"]\\"":']), max_size=130).map(b"".join)
many = st.integers(997, 1003).map(lambda number: b"[" + b",".join([b"{}"] * number) + b"]")
bodies = st.binary(max_size=200) | st.lists(scraps, max_size=60).map(b"".join) | openings | many
transform = Transform(Preprocessing())
Call = tuple[Sequence[Record | ServingError], Shape]


def asked(body: bytes, content_type: str) -> Call | ServingError:
    request = Request("POST", "/invocations", {"content-type": content_type}, body)
    found: Call | ServingError
    try:
        found = contract.parse(request, payload_types=PAYLOAD_TYPES, max_body_bytes=4_000)
    except ServingError as error:
        found = error
    saw("parser", [getattr(found, "status", 200)])
    return found


@fuzzed("parser", of=2)
@given(bodies, st.sampled_from(TYPES) | texts)
def test_any_bytes_are_a_call_or_an_error(body: bytes, content_type: str) -> None:
    found = asked(body, content_type)
    if isinstance(found, ServingError):
        json.loads(contract.render_error(found).body)
        return
    parsed, shape = found
    for record in parsed:
        if isinstance(record, ServingError):
            assert shape is not Shape.ONE
            json.loads(encode(record.as_answer()))
        elif not isinstance(record, Payload):
            json.loads(encode(record))


@fuzzed("parser", of=2)
@given(st.lists(records | values, min_size=1, max_size=3), st.sampled_from([JSON, JSON_LINES]))
def test_records_and_answers_keep_their_order_and_values(written: list[Any], kind: str) -> None:
    lines = kind == JSON_LINES
    sent = "\n".join(map(json.dumps, written)) if lines else json.dumps(written)
    found = asked(sent.encode(), kind)
    if isinstance(found, ServingError):
        assert found.status == 413
        return
    for record, value in zip(found[0], written, strict=True):
        assert record == value if isinstance(value, dict) else isinstance(record, MalformedRequest)
    body = contract.render([*map(encode, written)], Shape.ARRAY, kind).body.decode("ascii")
    answers = [*map(json.loads, body.split("\n")[:-1])] if lines else json.loads(body)
    assert answers == written


@fuzzed("decoder")
@given(dices, st.sampled_from(PICTURES), st.integers(1, 5))
def test_a_broken_photograph_is_handled(dice: random.Random, picture: bytes, times: int) -> None:
    for _ in range(times):
        picture = mutated(dice, picture)
    try:
        pixels = decode(picture)
    except UndecodableImage as error:
        saw("decoder", [error.status])
        return
    saw("decoder", ["a picture"])
    height, width, colours = pixels.shape
    assert (colours, pixels.dtype) == (3, np.uint8)
    assert 0 < height * width <= MAX_PIXELS
    tensor = transform(pixels)
    assert tensor.shape == (1, 3, 224, 224)
    assert np.isfinite(tensor).all()
