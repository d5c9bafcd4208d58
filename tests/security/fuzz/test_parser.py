"""The parser, renderer and decoder handle any bytes."""

import json
import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from security.fuzz.garbage import PICTURES, TYPES, dices, mutated
from security.fuzz.plan import fuzzed, saw
from serving.artifact.preprocessing import Preprocessing
from serving.core import contract
from serving.core.contract import Payload, Request, Shape, encode
from serving.core.errors import ServingError, UndecodableImage
from serving.inference import PAYLOAD_TYPES
from serving.model.image_headers import MAX_PIXELS
from serving.model.images import Transform, decode

texts = st.text(st.characters(), max_size=20)
scraps = st.sampled_from(
    rb'{ } [ ] " \ : , 1 - e9 NaN null "uri" \u \ud800'.split(b" ")
    + b" |\xff|\xed\xa0\x80|\0|\n|\r|\xef\xbb\xbf".split(b"|")
)
openings = st.lists(st.sampled_from([b"[", b'{"a":', b'{"]\\"":']), max_size=130).map(b"".join)
many = st.integers(997, 1003).map(lambda number: b"[" + b",".join([b"{}"] * number) + b"]")
bodies = st.binary(max_size=200) | st.lists(scraps, max_size=60).map(b"".join) | openings | many
transform = Transform(Preprocessing())


@fuzzed("parser")
@given(bodies, st.sampled_from(TYPES) | texts)
def test_any_bytes_are_a_call_or_an_error(body: bytes, content_type: str) -> None:
    request = Request("POST", "/invocations", {"content-type": content_type}, body)
    try:
        found = contract.parse(request, payload_types=PAYLOAD_TYPES, max_body_bytes=4_000)
    except ServingError as error:
        saw("parser", [error.status])
        json.loads(contract.render_error(error).body)
        return
    saw("parser", [200])
    parsed, shape = found
    for record in parsed:
        if isinstance(record, ServingError):
            assert shape is not Shape.ONE
            json.loads(encode(record.as_answer()))
        elif not isinstance(record, Payload):
            json.loads(encode(record))


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
