"""Detect a model that hangs: requests have begun, and none ends."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress

_PROBE_SECONDS = 30.0


class Watchdog:
    """Enter it around each request; call `is_stuck` regularly.

    A long request alone is not a failure. While other requests have places, the process is stuck
    only if `probe`, which runs one inference, hangs as well.
    """

    def __init__(self, stuck_seconds: float, places: int, probe: Callable[[], object] | None):
        self._stuck_seconds, self._places, self._probe = stuck_seconds, places, probe
        self._lock = threading.Lock()
        self._running = 0
        self._progress_at = time.monotonic()
        self._probed_at: float | None = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._running:
                self._progress_at = time.monotonic()
            self._running += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._running -= 1
            self._progress_at = time.monotonic()

    def is_stuck(self) -> bool:
        """Return whether requests run, none has ended for `stuck_seconds`, and a probe hangs."""
        now = time.monotonic()
        if not self._running or now - self._progress_at < self._stuck_seconds:
            self._probed_at = None
            return False
        if not self._probe or self._running >= self._places:
            return True
        if self._probed_at is None:
            self._probed_at = now
            threading.Thread(target=self._run_probe, args=(self._probe,), daemon=True).start()
        return now - self._probed_at > min(_PROBE_SECONDS, self._stuck_seconds)

    def _run_probe(self, probe: Callable[[], object]) -> None:
        with suppress(Exception):  # a probe that fails does not hang
            probe()
        with self._lock:
            self._progress_at = time.monotonic()
