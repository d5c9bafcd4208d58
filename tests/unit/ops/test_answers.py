"""Answers of the container, of the platforms and of asynchronous endpoints."""

import json

import pytest

from ops import answers

ERROR = '{"error":{"code":"too_large","message":"the body is (413) large. See \\"below\\""}}'

REFUSED = "Received client error (413) from primary with message"


@pytest.mark.parametrize(
    ("text", "status", "error"),
    [
        (f'{REFUSED} "{ERROR}". See https://x', 413, ERROR),
        (f'{REFUSED} "{ERROR}"', 413, ERROR),
        ("Invocation timed out", 502, None),
    ],
)
def test_the_sentence_of_an_asynchronous_failure(text: str, status: int, error: str | None) -> None:
    answer = answers.from_failure(text)
    assert (answer.ok, answer.status) == (False, status)
    assert answer.text == error or (not error and answer.error["code"] == "target_failed")


@pytest.mark.parametrize(
    ("status", "body", "code", "message"),
    [
        (502, b'{"message":"Internal Error"}', "target_failed", "Internal Error"),
        (429, b'{"Reason":"Limit","message":"Rate."}', "throttled", "Rate. (Limit)"),
        (200, b"<p>a page", "target_failed", "<p>a page"),
        (503, b"", "target_failed", "status 503 and an empty body"),
        (502, b'{"results":[]}', "target_failed", '{"results":[]}'),
    ],
)
def test_only_the_containers_own_success_is_one(
    status: int, body: bytes, code: str, message: str
) -> None:
    """A web page is an error, and so is an answer with another status."""
    answer = answers.from_body(status, body)
    assert not answer.ok
    assert json.loads(answer.text) == {"error": {"code": code, "message": message}}


def test_an_answer_is_one_line_and_otherwise_untouched() -> None:
    text = '{"a": 1e5,"b":"\\u00e9"}'
    assert answers.from_body(200, text.encode()).text == text
    assert answers.from_body(200, b'{"a":\n1}\n').text == '{"a": 1}'
