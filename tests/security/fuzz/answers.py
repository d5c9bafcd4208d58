"""Check the answers to arbitrary input."""

import io
import json
import re
from http.client import HTTPException, HTTPResponse

from ops.local_servers import HttpReply
from serving.core import errors
from serving.core.errors import ServingError

HANG_SECONDS = 30
_KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type)]
CODES = {(kind.status, kind.code) for kind in _KINDS if issubclass(kind, ServingError)}


class _Received(io.BytesIO):
    """Stand in for a socket, so that HTTPResponse reads bytes and does not close them."""

    def makefile(self, *_: object) -> "_Received":
        return self

    def close(self) -> None:
        pass


def split_answers(stream: bytes, *, cut: bool, head: bool) -> list[HttpReply]:
    """Return the answers of a connection, in order. Raise AssertionError for invalid HTTP.

    `cut`: the connection was reset, so the last answer may be incomplete. `head`: the request may
    have been a HEAD, whose answer has a length and no body.
    """
    answers = []
    received = _Received(stream)
    while rest := stream[received.tell() :]:
        if rest.startswith(b"{"):  # an answer to HTTP/0.9 is a body alone
            assert json.loads(rest).keys() == {"error"}
            break
        response = HTTPResponse(received)
        try:
            response.begin()
            headers = {name.lower(): value for name, value in response.headers.items()}
            assert "content-length" in headers or cut, f"half an answer: {rest[:200]!r}"
            after = stream[received.tell() :]
            if head and (not after or after.startswith(b"HTTP/1.")):
                headers["content-length"], body = "0", b""
            else:
                body = response.read()
        except HTTPException as error:
            assert cut, f"{error!r} in {rest[:200]!r}"
            break
        assert not response.headers.defects
        for name, value in headers.items():
            assert re.fullmatch(r"[\w-]+", name) and value.isprintable(), f"{name}: {value}"
        answers.append(HttpReply(response.status, headers, body, 0.0))
    return answers


def judge(answer: HttpReply) -> None:
    assert answer.status < 500 or answer.status == 503, answer
    assert not re.search(rb'Traceback|File "', answer.body), answer
    if answer.status == 503:
        assert int(answer.headers["retry-after"]) >= 1
    if answer.status >= 400 and answer.body:
        assert answer.headers["content-type"] == "application/json", answer
        found = json.loads(answer.body)
        assert found.keys() == {"error"}, answer
        assert found["error"].keys() == {"code", "message"}, answer
        assert (answer.status, found["error"]["code"]) in CODES, answer
    elif answer.status >= 400:
        assert answer.headers["content-length"] == "0", answer
    else:
        assert answer.status == 200, answer
        if answer.headers.get("content-type") == "application/json" and answer.body:
            json.loads(answer.body)


def answer_to(event: str) -> str:
    """Return the Lambda handler's answer to an event, as JSON. Runs in a process of its own.

    As in awslambdaric, an event that is not JSON never reaches the handler.
    """
    from serving.lambda_handler import handler

    try:
        parsed = json.loads(event)
    except (RecursionError, ValueError):
        return json.dumps({"refused": True})
    try:
        return json.dumps({"answer": handler(parsed, None)})
    except Exception as error:
        return json.dumps({"raised": repr(error)})
