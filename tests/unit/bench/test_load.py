"""The load generator counts correct answers, refusals and broken connections separately."""

import itertools
import json
import os
from collections.abc import Callable, Mapping

import pytest

from bench.answers import Gate
from bench.load import Round, Server, WrongAnswer
from support.upstream import Handler, listening

CLASSES = [{"label": "tabby", "prob": "0.75"}, {"label": "lynx", "prob": "0.25"}]
BODY = json.dumps({"results": CLASSES}).encode()
Reply = tuple[int, bytes, Mapping[str, str]]
RIGHT: Reply = (200, BODY, {})
WRONG: Reply = (200, BODY.replace(b"tabby", b"tiger"), {})
BUSY: Reply = (503, b"busy", {"Retry-After": "1"})
CLOSING: Reply = (200, BODY, {"Connection": "close"})
TRUNCATED: Reply = (200, BODY[:-5], {"Connection": "close", "Content-Length": str(len(BODY))})


def driven(
    script: Callable[[int], Reply | None], connections: int = 2, seconds: float = 0.5
) -> Round:
    """Measure a server whose replies `script` gives by number; None closes the connection."""
    numbers = itertools.count()

    class Scripted(Handler):
        protocol_version = "HTTP/1.1"

        def reply(self, body: bytes) -> None:
            assert body == b"photo"
            reply = script(next(numbers))
            if reply:
                self.answer(*reply)
            else:
                self.close_connection = True

    with listening(Scripted) as url:
        server = Server(f"{url}/invocations", os.getpid(), b"photo", Gate(BODY).check)
        return server.round(connections, seconds)


@pytest.mark.parametrize(
    "reply", [RIGHT, CLOSING, (200, json.dumps(json.loads(BODY), indent=3).encode(), {})]
)
def test_right_answers_are_counted(reply: Reply) -> None:
    found = driven(lambda _: reply)
    assert found.requests >= 2
    assert found.requests_per_second > 0
    assert 0 < found.p50_ms <= found.p99_ms
    assert (found.refused, found.broken) == (0, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        (404, BODY, {}),
        (200, b"\xff", {}),
        (200, BODY.replace(b"0.75", b"0.7501"), {}),
        (200, BODY.replace(b"0.75", b"nan"), {}),
        WRONG,
    ],
)
def test_one_wrong_answer_among_many_ends_the_benchmark(wrong: Reply) -> None:
    with pytest.raises(WrongAnswer, match="wrong answer"):
        driven(lambda number: wrong if number == 1 else RIGHT, seconds=1)


def test_the_client_waits_after_a_refusal_and_counts_it_apart() -> None:
    found = driven(lambda number: BUSY if number < 2 else RIGHT, seconds=2)
    assert found.refused == 2
    assert found.requests >= 2


def test_a_connection_that_ends_without_an_answer_is_counted_apart() -> None:
    found = driven(lambda number: None if number == 1 else RIGHT)
    assert found.broken == 1
    assert found.requests >= 2


@pytest.mark.parametrize(
    ("reply", "said"),
    [(BUSY, "no answer: 4 refusals, 0 broken"), (TRUNCATED, "no answer: 0 refusals, 4 broken")],
)
def test_refusals_and_broken_connections_alone_are_no_measurement(reply: Reply, said: str) -> None:
    with pytest.raises(WrongAnswer, match=said):
        driven(lambda _: reply, connections=4)
