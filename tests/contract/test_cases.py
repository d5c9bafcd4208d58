"""Test the messages for a golden case that fails or is invalid."""

import json
from pathlib import Path
from typing import Any

import pytest

from ops.local_servers import HttpReply
from support import cases

CASE = {"name": "a cat", "request": {"body": {}}, "reply": {"status": 200, "json": {"is": "cat"}}}


def written(folder: Path, found: Any) -> Path:
    path = folder / "golden.json"
    path.write_text(json.dumps(found))
    return path


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (200, b'{"is": "dog"}', 'answered: {"is": "dog"}\nexpected: {"is": "cat"}'),
        (500, b"oh", "answered: status 500, oh\nexpected: status 200"),
    ],
)
def test_a_failure_shows_both_answers(
    tmp_path: Path, status: int, body: bytes, message: str
) -> None:
    [case] = cases.read(written(tmp_path, [CASE]), tmp_path)
    case.check(HttpReply(200, {}, b'{"is": "cat"}', 0), {})
    with pytest.raises(AssertionError) as wrong:
        case.check(HttpReply(status, {}, body, 0), {})
    assert message in str(wrong.value)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"name": "a cat"}, "TypeError"),
        ([{**CASE, "reply": {"status": 200}}], "'a cat' lacks"),
        ([{"name": "a cat", "reply": {"status": 200, "json": {}}}], "'request'"),
    ],
)
def test_an_invalid_case_is_one_line(tmp_path: Path, found: Any, message: str) -> None:
    path = written(tmp_path, found)
    with pytest.raises(pytest.Collector.CollectError) as wrong:
        cases.read(path, tmp_path)
    [line] = str(wrong.value).splitlines()
    assert line.startswith(f"{path}: ")
    assert message in line
