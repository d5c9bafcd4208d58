"""The audit fails on findings without an exception, and reports if it cannot reach osv.dev."""

import subprocess
from datetime import date
from pathlib import Path
from unittest.mock import patch

import pytest

from security.supply import audit
from support.locks import SETS, pins

ENTRY = {"package": "onnx", "advisories": ["GHSA-1"], "reason": "", "review_by": date(2027, 1, 1)}
FINDING = {"id": "PYSEC-1", "aliases": ["GHSA-1"], "fix_versions": ["1.16"]}
FOUND = [
    {"name": "flask", "version": "3.1", "vulns": []},
    {"name": "onnx", "version": "1.13", "vulns": [FINDING]},
]


@pytest.mark.parametrize(
    ("exceptions", "today", "problems"),
    [
        ([ENTRY], date(2027, 1, 1), []),
        ([{**ENTRY, "package": "flask"}], date(2026, 1, 1), ["onnx 1.13: PYSEC-1, fixed in 1.16"]),
        ([ENTRY], date(2027, 1, 2), ["onnx: review_by 2027-01-01 has passed"]),
    ],
)
def test_only_a_dated_exception_accepts_a_finding(
    exceptions: list[dict[str, object]], today: date, problems: list[str]
) -> None:
    assert audit.judge(FOUND, exceptions, today) == problems


@pytest.mark.parametrize(
    ("printed", "status", "message"),
    [
        (('{"dependencies": []}', ""), 0, "0 packages checked, 0 problems"),
        (("", "requests.exceptions.ConnectionError: osv.dev"), 0, "advisories not checked"),
        (("", "Traceback: something else"), 1, "pip-audit failed"),
    ],
)
def test_the_exit_status(
    printed: tuple[str, str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with patch.object(audit, "EXCEPTIONS", Path("/dev/null")), patch("subprocess.run") as run:
        run.return_value = subprocess.CompletedProcess([], 1, *printed)
        assert audit.main() == status
    assert message in "".join(capsys.readouterr())


def test_every_locked_version_is_checked() -> None:
    groups = audit.versions()
    wanted = {(pin.name, pin.version) for path in SETS for pin in pins(path)}
    assert {item for group in groups for item in group.items()} == wanted
