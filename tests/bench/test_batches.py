"""Arrays against single requests: what is compared, and what it amounts to."""

import time
from urllib.request import urlopen

import pytest

from bench.batches import SOURCES, compare, summary, upstream
from bench.measured import WrongAnswer


def test_both_sides_by_turns_and_the_first_pair_left_out() -> None:
    asked: list[bytes] = []

    def ask(body: bytes) -> bytes:
        asked.append(body)
        return body.replace(b"{}", b"1")

    assert len(compare(ask, b"{}", b"1", 2, pairs=2)) == 2
    together, singly = [b"[{},{}]"], [b"{}", b"{}"]
    assert asked == [*together, *singly, *singly, *together, *together, *singly]


def test_an_array_whose_answers_are_others_is_noticed() -> None:
    with pytest.raises(WrongAnswer):
        compare(lambda body: body.replace(b"{},{}", b"1,2").replace(b"{}", b"1"), b"{}", b"1", 2, 1)


def test_the_upstream_takes_its_time() -> None:
    started = time.perf_counter()
    with upstream(b"a picture", 0.05) as address, urlopen(address) as reply:  # noqa: S310 - ours
        assert reply.read() == b"a picture"
    assert time.perf_counter() - started >= 0.05


def test_milliseconds_a_picture_and_the_ratio() -> None:
    found = summary(SOURCES[2], 4, [(0.1, 0.2), (0.1, 0.3), (0.2, 0.8)])
    assert (found["source"], found["pictures"]) == ("50 ms", 4)
    assert found["array_ms_per_picture"] == pytest.approx(25)
    assert found["single_ms_per_picture"] == pytest.approx(75)
    assert found["times_sooner"] == pytest.approx(3)
