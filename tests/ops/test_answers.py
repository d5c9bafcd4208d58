"""What a target's words mean, without any target."""

import json

import pytest

from cases import PHOTOS
from ops import answers

ERROR = '{"error":{"code":"too_large","message":"the body is (413) large. See \\"below\\""}}'


def test_an_image_is_what_its_bytes_say() -> None:
    photos = [path for path in PHOTOS.iterdir() if path.suffix in (".jpg", ".png", ".webp")]
    assert {path.suffix: answers.media_type(path.read_bytes()) for path in photos} == {
        ".jpg": "image/jpeg",
        ".png": "image/png",
        ".webp": "image/webp",
    }
    assert [answers.media_type(data) for data in (b"", b"RIFF", b"GIF89a")] == [
        "application/x-image"
    ] * 3


@pytest.mark.parametrize(
    ("text", "status", "error"),
    [
        (
            f'Received client error (413) from primary with message "{ERROR}". See https://x',
            413,
            ERROR,
        ),
        (f'Received client error (413) from primary with message "{ERROR}"', 413, ERROR),
        ("Invocation timed out", 502, None),
        ("", 502, None),
    ],
)
def test_the_sentence_of_an_asynchronous_failure(text: str, status: int, error: str | None) -> None:
    answer = answers.from_failure(text)
    assert (answer.ok, answer.status) == (False, status)
    if error:
        assert answer.text == error
    else:
        assert answer.error
        assert answer.error["code"] == "target_failed"


def test_only_the_containers_own_success_is_one() -> None:
    """A page, or an object that looks like an answer under another status, is an error."""
    assert answers.from_body(200, b'{"results":[]}').ok
    for status, body in ((200, b"<html>"), (502, b'{"results":[]}'), (500, b"[]"), (404, b"null")):
        answer = answers.from_body(status, body)
        assert not answer.ok
        assert json.loads(answer.text)["error"]["code"] == "target_failed"


def test_an_answer_is_one_line_and_otherwise_untouched() -> None:
    text = '{"a": 1e5,"b":"\\u00e9"}'
    assert answers.from_body(200, text.encode()).text == text
    assert answers.from_body(200, b'{"a":\n1}\n').text == '{"a": 1}'
