"""A server that tests share which leave it as it was."""

from collections.abc import Iterator

import pytest

from soak.server import Server, serving


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server of one worker."""
    with serving({"WORKERS": "1", "LOG_LEVEL": "DEBUG"}) as running:
        yield running
