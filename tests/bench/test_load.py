"""The load generator: what counts as an answer, what is counted apart, and what ends it."""

import json
from collections.abc import Callable, Sequence

import pytest

from bench.answers import Gate, results
from bench.connection import Target
from bench.load import drive
from bench.measured import Round, WrongAnswer

CLASSES = [("tabby", 0.75), ("lynx", 0.25)]
BODY = json.dumps(
    {"results": [{"label": label, "prob": str(prob)} for label, prob in CLASSES]}
).encode()
Reply = bytes | tuple[bytes, None] | None
Serve = Callable[[Callable[[int, bytes], Reply]], str]


def closing(reply: bytes) -> tuple[bytes, None]:
    """A reply after which the server closes the connection."""
    return reply, None


def reply(status: str = "200 OK", body: bytes = BODY, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def driven(
    url: str, concurrency: int = 2, seconds: float = 0.1, headers: Sequence[str] = ()
) -> Round:
    found = Target(url, headers)
    gate = Gate(CLASSES, 1e-5, results)
    return drive(found, found.request(b"photo"), gate.check, concurrency, seconds)


def test_right_answers_are_counted(serve: Serve) -> None:
    found = driven(serve(lambda _number, _request: reply()))
    assert found.requests >= 2
    assert found.requests_per_second > 0
    assert 0 < found.p50_ms <= found.p99_ms
    assert (found.refused, found.broken) == (0, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        reply("404 Not Found"),
        reply("404 Not Found", b""),
        reply("500 Internal Server Error"),
        reply("204 No Content", b""),
        reply(body=b"{}"),
        reply(body=b"[]"),
        reply(body=b"null"),
        reply(body=b"\xff"),
        reply(body=BODY.replace(b"tabby", b"tiger")),
        reply(body=BODY.replace(b"0.75", b"0.7501")),
        reply(body=BODY.replace(b"0.75", b"nan")),
        reply(body=b'{"results": []}'),
    ],
)
def test_a_wrong_answer_ends_it_however_fast_it_is(serve: Serve, wrong: bytes) -> None:
    with pytest.raises(WrongAnswer, match="wrong answer"):
        driven(serve(lambda _number, _request: wrong))


def test_one_wrong_answer_among_many_ends_it(serve: Serve) -> None:
    wrong = reply(body=BODY.replace(b"tabby", b"tiger"))
    with pytest.raises(WrongAnswer, match="tiger"):
        driven(serve(lambda number, _request: wrong if number == 20 else reply()), seconds=5)


def test_other_bytes_with_the_same_classes_pass(serve: Serve) -> None:
    spaced = json.dumps(json.loads(BODY.replace(b"0.75", b"0.750001")), indent=3).encode()
    assert driven(serve(lambda _number, _request: reply(body=spaced))).requests >= 2


def test_a_refusal_is_no_answer_and_is_waited_for(serve: Serve) -> None:
    refusal = reply("503 Service Unavailable", b"busy", "Retry-After: 1")
    url = serve(lambda number, _request: refusal if number < 2 else reply())
    found = driven(url, concurrency=2, seconds=1.3)
    assert found.refused == 2
    assert found.p99_ms < 1000  # the wait is in no answer's time
    assert found.requests >= 2


def test_nothing_but_refusals_measures_nothing(serve: Serve) -> None:
    url = serve(lambda _number, _request: reply("503 Service Unavailable", b""))
    with pytest.raises(WrongAnswer, match="no answer: 4 refusals, 0 broken"):
        driven(url, concurrency=4, seconds=0.1)


def test_a_connection_that_ends_without_an_answer_is_counted_apart(serve: Serve) -> None:
    found = driven(serve(lambda number, _request: None if number == 1 else reply()), seconds=0.2)
    assert found.broken == 1
    assert found.requests >= 2


def test_an_answer_that_is_cut_off_is_none(serve: Serve) -> None:
    with pytest.raises(WrongAnswer, match="no answer: 0 refusals, 1 broken"):
        driven(serve(lambda _number, _request: closing(reply()[:-5])), concurrency=1)


@pytest.mark.parametrize(
    "framed",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"%x;note=1\r\n%s\r\n" % (len(BODY) - 5, BODY[:-5])
        + b"5\r\n%s\r\n0\r\n\r\n" % BODY[-5:],
        reply("200 OK", BODY, "connection: keep-alive").replace(
            b"Content-Length", b"content-length"
        ),
    ],
)
def test_answers_in_other_frames(serve: Serve, framed: bytes) -> None:
    found = driven(serve(lambda _number, _request: framed))
    assert found.requests >= 2
    assert found.broken == 0


def test_a_server_that_closes_every_connection_is_asked_over_new_ones(serve: Serve) -> None:
    found = driven(
        serve(lambda _number, _request: closing(reply("200 OK", BODY, "Connection: close")))
    )
    assert found.requests >= 2
    assert found.broken == 0


def test_a_body_may_end_with_its_connection(serve: Serve) -> None:
    url = serve(lambda _number, _request: closing(b"HTTP/1.0 200 OK\r\n\r\n" + BODY))
    found = driven(url)
    assert found.requests >= 2
    assert found.broken == 0


def test_headers_and_path_are_sent_as_given(serve: Serve) -> None:
    seen = []

    def script(_number: int, request: bytes) -> bytes:
        seen.append(request)
        return reply()

    url = serve(script).replace("/invocations", "/models/a?version=2")
    driven(url, concurrency=1, headers=("Authorization: Bearer x",))
    assert seen[0].startswith(b"POST /models/a?version=2 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nAuthorization: Bearer x\r\n" in seen[0]
    assert seen[0].endswith(b"\r\n\r\nphoto")


def test_a_url_that_is_none_is_said() -> None:
    with pytest.raises(ValueError, match="not an http or https URL"):
        driven("ftp://localhost/")
