"""Stop asking a source for a while after repeated failures, across processes of this machine."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pacsgrid.errors import SourceUnavailableError

log = logging.getLogger(__name__)


class CircuitBreaker:
    """Counts consecutive failures in a file; from a number on, calls are refused for a while.

    After the pause, one more failure starts the next pause.

    Parameters
    ----------
    path
        The file.
    name
        The source's name, for messages.
    failures
        How many consecutive failures start a pause.
    pause_seconds
        How long the pause is.
    """

    def __init__(self, path: Path, name: str, failures: int, pause_seconds: float) -> None:
        self._path = path
        self._name = name
        self._most = failures
        self._pause_seconds = pause_seconds

    def check(self) -> None:
        """Raise SourceUnavailableError during a pause."""
        rest = self._read()[1] - time.time()
        if rest > 0:
            raise SourceUnavailableError(
                f"source {self._name}: failed repeatedly; it is not asked for {rest:.0f} s more"
            )

    def record_failure(self) -> None:
        """Count a failure; log once when a pause starts."""
        with self._locked():
            failures, until = self._read()
            failures += 1
            if failures >= self._most and until <= time.time():
                until = time.time() + self._pause_seconds
                log.error(
                    "source %s failed %d times in a row and is not asked for %.0f s; "
                    "check that it is running and reachable",
                    self._name,
                    failures,
                    self._pause_seconds,
                )
            self._write(failures, until)

    def record_success(self) -> None:
        """Reset the count."""
        if self._read() == (0, 0.0):
            return
        with self._locked():
            failures, _ = self._read()
            if failures >= self._most:
                log.warning("source %s answers again", self._name)
            self._write(0, 0.0)

    def _read(self) -> tuple[int, float]:
        try:
            kept = json.loads(self._path.read_text())
            return int(kept["failures"]), float(kept["until"])
        except (OSError, ValueError, KeyError):
            return 0, 0.0

    def _write(self, failures: int, until: float) -> None:
        part = self._path.with_suffix(".part")
        part.write_text(json.dumps({"failures": failures, "until": until}))
        os.replace(part, self._path)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        handle = os.open(self._path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)
