"""The models that the tests of this folder use."""

import sys
from collections.abc import Iterator
from unittest.mock import patch

import pytest

from support import model_folders

models = pytest.fixture(scope="module")(model_folders.models)


@pytest.fixture(autouse=True)
def other_modules_stay() -> Iterator[None]:
    """Remove what a test imports in place of our modules."""
    with patch.dict(sys.modules):
        yield
