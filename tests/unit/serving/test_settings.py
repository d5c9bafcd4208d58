"""Test the settings from the environment."""

import os
import re
from pathlib import Path

import pytest

from serving.core.errors import StartError
from serving.core.settings import Settings, granted_cpus


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
        ({}, 8),
    ],
)
def test_cpus_that_the_cgroup_grants(
    files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert granted_cpus({}, cgroup=tmp_path) == expected


@pytest.mark.parametrize(("memory_mb", "expected"), [("128", 1), ("3538", 2), ("10240", 6)])
def test_cpus_that_lambda_grants(
    memory_mb: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert granted_cpus({"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": memory_mb}, tmp_path) == expected


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("WORKERS", "0", "a whole number from 1 to 999999999"),
        ("MAX_WAITING", "³", "a whole number"),
        ("IMAGE_ID", "a\nb", "printable ASCII"),
        ("FETCH_PRIVATE_ADDRESSES", "false", "one of 0, 1"),
        ("URI_ALLOWLIST", "https://x.example", "a list of *, HOST, *.DOMAIN, HOST:PORT"),
        ("FORWARD_PERCENT", "101", "a whole number from 0 to 100"),
        ("FORWARD_PERCENT", "12.5", "a whole number from 0 to 100"),
        ("LOG_LEVEL", "info", "one of DEBUG, INFO, WARNING, ERROR"),
    ],
)
def test_a_wrong_value_names_the_variable_and_the_choices(
    name: str, value: str, allowed: str
) -> None:
    with pytest.raises(StartError, match=re.escape(f"{name}={value!r} is not {allowed}")):
        Settings.from_environment({name: value})


def test_an_empty_variable_counts_as_unset() -> None:
    names = ("MODEL_NAME", "IMAGE_ID", "WORKERS", "MAX_BODY_BYTES", "URI_ALLOWLIST", "LOG_LEVEL")
    assert Settings.from_environment(dict.fromkeys(names, "")) == Settings.from_environment({})
