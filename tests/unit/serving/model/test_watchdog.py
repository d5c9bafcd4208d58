"""Check when the Watchdog calls a process stuck. The tests set the clock."""

import threading
from collections.abc import Callable

import pytest

from serving.model import watchdog
from serving.model.watchdog import Watchdog


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(watchdog, "time", clock)
    return clock


def eventually(condition: Callable[[], bool]) -> bool:
    return any(condition() or threading.Event().wait(0.01) for _ in range(1000))


def test_it_is_stuck_if_no_request_has_ended_for_a_while(clock: Clock) -> None:
    busy = Watchdog(10, 4, None)
    clock.now = 1000
    assert not busy.is_stuck()
    with busy:  # the time counts from here
        for _ in range(10):
            clock.now += 9
            assert not busy.is_stuck()
            with busy:
                pass
        clock.now += 11
        assert busy.is_stuck()


def test_a_long_request_is_not_a_fault_while_the_probe_answers(clock: Clock) -> None:
    probed = threading.Event()
    slow = Watchdog(10, 4, probed.set)
    with slow:
        clock.now = 11
        assert not slow.is_stuck()
        assert probed.wait(10)
        assert eventually(lambda: not slow.is_stuck() and slow._probed_at is None)
        clock.now = 20
        assert not slow.is_stuck()


def test_a_hanging_probe_means_that_it_is_stuck(clock: Clock) -> None:
    release = threading.Event()
    hung = Watchdog(10, 4, lambda: release.wait(60))
    with hung:
        clock.now = 11
        assert not hung.is_stuck()  # the probe has just started
        clock.now = 22
        assert hung.is_stuck()
        release.set()
        assert eventually(lambda: not hung.is_stuck())


def test_without_free_places_it_is_stuck_without_a_probe(clock: Clock) -> None:
    full = Watchdog(10, 2, lambda: None)
    with full, full:
        clock.now = 11
        assert full.is_stuck()
