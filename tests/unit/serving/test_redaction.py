"""Check that private parts of a text do not reach the log."""

import logging

import pytest

from serving.core import logs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET https://host/a/b?x=1&y=2 failed", "GET https://host/a/b?… failed"),
        ("'https://u:p@host/a?b' and \"/c?d=e\"", "'https://…@host/a?…' and \"/c?…\""),
        ("s3://u:p@bucket/key", "s3://…@bucket/key"),
        ("https://host/a??b?c=d", "https://host/a?…"),
        ("/a?b?c=d", "/a?b?…"),
        ("data:image/png;base64,AAAA is broken", "data:image/png;base64,… is broken"),
        ("did you mean resnet18_v1? or x", "did you mean resnet18_v1? or x"),
        ("model.onnx.data: up to 5, of 4", "model.onnx.data: up to 5, of 4"),
        ("one, two // three@four", "one, two // three@four"),
    ],
)
def test_private_parts_are_removed(text: str, expected: str) -> None:
    assert logs.redacted(text) == expected


@pytest.mark.parametrize("piece", ["\n", "?\n", "?", "//", "https://", "data:", "a,", "?=", "@"])
def test_a_long_text_is_cut(piece: str) -> None:
    record = logging.makeLogRecord({"msg": piece * 2_000_000})
    assert len(logs.JsonFormatter().format(record)) < 100_000
