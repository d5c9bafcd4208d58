"""The models that the tests of this folder share."""

import sys
from collections.abc import Iterator
from unittest.mock import patch

import pytest

from support import model_folders
from support.model_folders import Models


@pytest.fixture(scope="module")
def models() -> Iterator[Models]:
    with model_folders.models() as start:
        yield start


@pytest.fixture(autouse=True)
def other_modules_stay() -> Iterator[None]:
    """What a test puts in the place of ours is gone after it."""
    with patch.dict(sys.modules):
        yield
