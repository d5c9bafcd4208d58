"""The audit fails on findings that nobody accepted, and says so when it cannot ask."""

import io
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from datetime import date
from pathlib import Path
from unittest.mock import patch

import pytest

from security.supply import audit
from support.locks import SETS, pins

ENTRY = {"package": "onnx", "advisories": ["GHSA-1"], "reason": "", "review_by": date(2027, 1, 1)}
FOUND = [
    {"name": "flask", "version": "3.1", "vulns": []},
    {
        "name": "onnx",
        "version": "1.13",
        "vulns": [{"id": "PYSEC-1", "aliases": ["GHSA-1"], "fix_versions": ["1.16"]}],
    },
]


@pytest.mark.parametrize(
    ("exceptions", "today", "problems"),
    [
        ([ENTRY], date(2027, 1, 1), []),
        ([], date(2027, 1, 1), ["onnx 1.13: PYSEC-1, fixed in 1.16"]),
        ([{**ENTRY, "package": "flask"}], date(2026, 1, 1), ["onnx 1.13: PYSEC-1, fixed in 1.16"]),
        ([ENTRY], date(2027, 1, 2), ["onnx: review_by 2027-01-01 has passed"]),
    ],
)
def test_only_a_dated_exception_accepts_a_finding(
    exceptions: list[dict[str, object]], today: date, problems: list[str]
) -> None:
    assert audit.judge(FOUND, exceptions, today) == problems


@pytest.mark.parametrize(
    ("out", "error", "status", "message"),
    [
        ('{"dependencies": []}', "", 0, "0 packages checked, 0 problems"),
        ("", "requests.exceptions.ConnectionError: api.osv.dev", 0, "advisories not checked"),
        ("", "Traceback: something else", 1, "pip-audit failed"),
    ],
)
def test_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, *, out: str, error: str, status: int, message: str
) -> None:
    monkeypatch.setattr(audit, "EXCEPTIONS", Path("/dev/null"))
    done = subprocess.CompletedProcess([], 1, out, error)
    printed = io.StringIO()
    with (
        patch.object(subprocess, "run", lambda *_, **__: done),
        redirect_stdout(printed),
        redirect_stderr(printed),
    ):
        assert audit.main() == status
    assert message in printed.getvalue()


def test_every_locked_version_is_checked() -> None:
    groups = audit.versions()
    wanted = {(pin.name, pin.version) for path in SETS for pin in pins(path)}
    assert {item for group in groups for item in group.items()} == wanted
