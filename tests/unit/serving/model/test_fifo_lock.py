"""Check that one thread at a time holds a FifoLock, in the order of the requests."""

import threading

import pytest

from serving.model.fifo_lock import FifoLock


def test_threads_get_it_in_order() -> None:
    lock, order = FifoLock(), []

    def take(number: int) -> None:
        with lock:
            order.append(number)

    threads = []
    with pytest.raises(ValueError, match="broken"), lock:
        for number in range(50):
            threads.append(threading.Thread(target=take, args=(number,)))
            threads[-1].start()
            while len(lock._waiting) <= number:
                pass
        raise ValueError("broken")  # releases it, too
    for thread in threads:
        thread.join()
    assert order == list(range(50))


def test_one_thread_at_a_time_holds_it() -> None:
    lock, inside, seen = FifoLock(), [], []

    def take() -> None:
        for _ in range(200):
            with lock:
                inside.append(1)
                seen.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1] * 1600
