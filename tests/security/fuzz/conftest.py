"""The server that is fuzzed, and the totals at the end."""

import json
from collections.abc import Iterator

import pytest

from security.fuzz import plan
from soak.server import Server, serving
from support.cases import PHOTOS
from support.upstream import Upstream


@pytest.fixture(scope="session")
def server(local_upstream: Upstream) -> Iterator[Server]:
    """Start a server of two workers whose fetches reach only the test upstream.

    At the end, check that the same workers still answer correctly and have logged no fault.
    """
    with serving(local_upstream.environment) as running:
        workers = running.workers()
        assert len(workers) == 2
        yield running
        for photo, label in (("cat.jpg", "tiger cat"), ("coffee.png", "espresso")):
            reply = running.post((PHOTOS / photo).read_bytes(), "image/jpeg")
            assert (reply.status, json.loads(reply.body)["results"][0]["label"]) == (200, label)
        assert running.get("/ping").status == 200
        assert running.workers() == workers
        output = running.process.output
    assert "Traceback" not in output
    # The other lines are warnings of the image libraries.
    records = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert {record["level"] for record in records} <= {"INFO", "WARNING"}
    assert [r for r in records if r["message"] == "fault" or "traceback" in r] == []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if plan.seen:
        terminalreporter.section(f"fuzzed {plan.seen.total():,} times, FUZZ_SEED={plan.SEED}")
    for kind, number in plan.seen.items():
        answers = sorted((name, n) for (of, name), n in plan.statuses.items() if of == kind)
        terminalreporter.line(f"{kind}: {number:,}")
        terminalreporter.line("   " + ", ".join(f"{name} {count:,}" for name, count in answers))
