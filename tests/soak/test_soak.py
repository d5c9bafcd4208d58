"""The short forms of `python -m soak`."""

import asyncio

from soak.leaks import leaks
from soak.overload import Setting, overload

# A server at its limits fills its heaps and threads' stacks within a minute; then it is flat.
FILLING_MB = 200


def test_ten_times_the_load_is_answered_rightly_or_refused_and_pings_go_on() -> None:
    """Also memory, descriptors and temporary files do not grow, and nothing fails in the log."""
    run = asyncio.run(overload(Setting(seconds=20, times=10, memory_mb=FILLING_MB)))
    assert run.problems == []
    assert run.tally.refused.total() > 0


def test_requests_leave_nothing_behind() -> None:
    assert asyncio.run(leaks(requests=2000, warm_up=1000)).problems == []
