"""Whether a process still answers: requests that begin must end, or a probe must."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress

_PROBE_SECONDS = 30.0


class Health:
    """`with health:` around each request; `is_stuck` from a loop.

    A model that hangs takes one waiting request after another with it, and no exception ever says
    so. Long requests alone are no fault: while there are places for others, the process is called
    stuck only if `probe` hangs, too.
    """

    def __init__(
        self, stuck_seconds: float, places: int, probe: Callable[[], object] | None
    ) -> None:
        """`places`: requests that may be under way. `probe`: one inference, if the model has it."""
        self._stuck_seconds = stuck_seconds
        self._places = places
        self._probe = probe
        self._lock = threading.Lock()
        self._under_way = 0
        self._moved = time.monotonic()
        self._probed_at: float | None = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._under_way:
                self._moved = time.monotonic()
            self._under_way += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._under_way -= 1
            self._moved = time.monotonic()

    def is_stuck(self) -> bool:
        """Whether requests are under way, none has ended for long, and no probe does."""
        now = time.monotonic()
        if not self._under_way or now - self._moved < self._stuck_seconds:
            self._probed_at = None
            return False
        if not self._probe or self._under_way >= self._places:
            return True
        if self._probed_at is None:
            self._probed_at = now
            threading.Thread(target=self._try, args=(self._probe,), daemon=True).start()
        return now - self._probed_at > min(_PROBE_SECONDS, self._stuck_seconds)

    def _try(self, probe: Callable[[], object]) -> None:
        with suppress(Exception):  # it has ended, which is what is asked here
            probe()
        with self._lock:
            self._moved = time.monotonic()
