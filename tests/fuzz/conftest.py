"""The server that is fuzzed, and the sums at the end."""

from collections.abc import Iterator

import pytest

from fuzz import plan
from fuzz.server import FuzzedServer, fuzzed_server
from upstream import Upstream


@pytest.fixture(scope="session")
def server(local_upstream: Upstream) -> Iterator[FuzzedServer]:
    with fuzzed_server(local_upstream) as running:
        yield running


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not plan.seen:
        return
    terminalreporter.section(f"fuzzed {plan.seen.total():,} times, FUZZ_SEED={plan.SEED}")
    for kind, number in plan.seen.items():
        answers = sorted(
            (name.removeprefix(f"{kind}: "), count)
            for name, count in plan.statuses.items()
            if name.startswith(f"{kind}: ")
        )
        terminalreporter.line(f"{kind}: {number:,}")
        terminalreporter.line("   " + ", ".join(f"{name} {count:,}" for name, count in answers))
