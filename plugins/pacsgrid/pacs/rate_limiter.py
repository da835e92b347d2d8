"""Limit how many instances per second are retrieved."""

from __future__ import annotations

import threading
import time


class RateLimiter:
    """Spaces instances evenly in time; several threads may share it.

    Parameters
    ----------
    per_second
        Instances per second; 0 for no limit.
    """

    def __init__(self, per_second: float) -> None:
        self._interval = 1 / per_second if per_second else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Sleep until the next instance may come."""
        if not self._interval:
            return
        with self._lock:
            now = time.monotonic()
            at = max(now, self._next)
            self._next = at + self._interval
        time.sleep(at - now)
