"""Fixtures for the operator tools."""

import functools
from collections.abc import Iterator

import pytest
from botocore.loaders import JSONFileLoader

from integration.ops.operator_tools import account, face, moto, ops, script

__all__ = ["account", "face", "moto", "ops", "script"]


@pytest.fixture(scope="session", autouse=True)
def services_are_parsed_once() -> Iterator[None]:
    """Cache botocore's service descriptions, megabytes that each session would parse again."""
    parse = functools.cache(JSONFileLoader().load_file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", staticmethod(parse))
        yield
