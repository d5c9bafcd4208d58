"""A server for tests that leave it unchanged."""

from collections.abc import Iterator

import pytest

from soak.server import Server, serving


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with serving({"WORKERS": "1", "LOG_LEVEL": "DEBUG"}) as running:
        yield running
