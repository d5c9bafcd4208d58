"""Who asked first is served first."""

import threading

import pytest

from serving.turns import Turns


def test_nobody_overtakes() -> None:
    turns, order = Turns(), []
    asked = threading.Semaphore(0)

    def take(number: int) -> None:
        asked.release()
        with turns:
            order.append(number)

    threads = []
    with turns:
        for number in range(50):
            threads.append(threading.Thread(target=take, args=(number,)))
            threads[-1].start()
            asked.acquire()
            while len(turns._waiting) <= number:
                pass  # it has said that it will ask, not that it has
    for thread in threads:
        thread.join()
    assert order == list(range(50))


def test_one_at_a_time() -> None:
    turns, inside, seen = Turns(), [], []

    def take() -> None:
        for _ in range(200):
            with turns:
                inside.append(1)
                seen.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(seen) == {1}
    assert len(seen) == 1600


def test_a_turn_that_fails_is_over() -> None:
    turns = Turns()
    with pytest.raises(ValueError, match="broken"), turns:
        raise ValueError("broken")
    with turns:
        pass
