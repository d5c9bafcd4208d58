"""A client that calls all the while counts what it lost."""

import time
from collections.abc import Callable

import pytest

from deploy.clients import Answer, Loop, looping


def answered() -> Answer:
    return Answer(200, b"", {"model": "m"})


def failed() -> Answer:
    return Answer(503, b"", {})


def unreachable() -> Answer:
    raise ConnectionError("refused")


@pytest.mark.parametrize("ask", [failed, unreachable])
def test_what_is_no_answer_is_lost(ask: Callable[[], Answer]) -> None:
    loop = ask_twice(ask)
    assert len(loop.lost) == loop.asked
    assert loop.told() == f"target: {loop.asked} asked, {loop.asked} lost"
    assert loop.told() == "target: 0 asked, 0 lost"


def test_an_answer_is_not_lost() -> None:
    loop = ask_twice(answered)
    assert loop.lost == []
    assert loop.models == ["m"]


def ask_twice(ask: Callable[[], Answer]) -> Loop:
    with looping("target", ask) as loop:
        deadline = time.monotonic() + 10
        while loop.asked < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert loop.asked >= 2
    return loop
