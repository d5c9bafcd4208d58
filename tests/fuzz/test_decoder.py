"""Photographs with some bytes changed: a picture, or one that cannot be decoded."""

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fuzz.bodies import PICTURES, mutated
from fuzz.plan import fuzzed, saw
from serving.errors import UndecodableImage
from serving.headers import MAX_PIXELS
from serving.images import Transform, decode

transform = Transform(256, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@fuzzed("decoder")
@given(st.integers(), st.sampled_from(PICTURES), st.integers(1, 5))
def test_a_broken_photograph(seed: int, picture: bytes, times: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - not for a secret
    for _ in range(times):
        picture = mutated(dice, picture)
    try:
        pixels = decode(picture)
        height, width, colours = pixels.shape
        assert colours == 3
        assert pixels.dtype == np.uint8
        assert 0 < height * width <= MAX_PIXELS
        tensor = transform(pixels)
        assert tensor.shape == (1, 3, 224, 224)
        assert np.isfinite(tensor).all()
    except UndecodableImage as error:
        saw("decoder", [error.status])
    else:
        saw("decoder", ["a picture"])
