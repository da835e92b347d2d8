"""Sparing a source: limits, hours, and leaving it alone when it fails again and again.

All processes of this machine share what is kept in the state directory: slots are file locks,
which their owner's end frees, and failures are counted in a small file.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from datetime import time as clock
from pathlib import Path
from typing import TypeVar

from pacsgrid.config import SourceSettings
from pacsgrid.errors import SourceError, SourceUnavailableError, SourceUnreachableError
from pacsgrid.model import FoundStudy, StagedFile, StudyQuery
from pacsgrid.pacs.base import Source

log = logging.getLogger(__name__)
_T = TypeVar("_T")
_POLL_SECONDS = 0.2


class Pace:
    """Lets instances through no faster than told; 0 for any rate. Several threads may share it."""

    def __init__(self, per_second: float) -> None:
        self._gap = 1 / per_second if per_second else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Return when the next instance may come."""
        if not self._gap:
            return
        with self._lock:
            now = time.monotonic()
            at = max(now, self._next)
            self._next = at + self._gap
        time.sleep(at - now)


def is_open(hours: str, now: clock) -> bool:
    """Whether a time of day lies within hours such as ``20:00-06:00``; "" is always."""
    if not hours:
        return True
    start, end = (clock.fromisoformat(part) for part in hours.split("-"))
    return start <= now < end if start < end else now >= start or now < end


class GuardedSource:
    """A source that is asked only as often and as much as its settings allow.

    Every call may raise `SourceUnavailableError` because it is not the source's hour, because
    its associations are all in use, or because it failed too often and is left alone.
    """

    def __init__(
        self,
        settings: SourceSettings,
        source: Source,
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        self._settings = settings
        self._source = source
        self._now = now
        folder = settings.state or Path(tempfile.gettempdir()) / f"pacsgrid-{os.getuid()}"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._breaker = _Breaker(
            folder / f"{settings.name}.json",
            settings.name,
            settings.failures,
            settings.pause_seconds,
        )
        self._slots = [
            folder / f"{settings.name}.{number}.lock" for number in range(settings.max_associations)
        ]

    def echo(self) -> None:
        """Ask at any hour and also while it is left alone: a steward wants to know now."""
        with self._slot():
            self._source.echo()
        self._breaker.succeeded()

    def find_studies(self, query: StudyQuery) -> Iterator[FoundStudy]:
        """Give each matching study once."""
        return iter(self._call(lambda: list(self._source.find_studies(query))))

    def list_instances(self, study: FoundStudy) -> set[str]:
        """Give the SOP Instance UIDs the source holds for the study."""
        return self._call(lambda: self._source.list_instances(study))

    def retrieve(self, study: FoundStudy, into: Path) -> list[StagedFile]:
        """Bring the study."""
        return self._call(lambda: self._source.retrieve(study, into))

    def strays(self) -> list[Path]:
        """List files that belong to no study."""
        return self._source.strays()

    def _call(self, ask: Callable[[], _T]) -> _T:
        name, hours = self._settings.name, self._settings.hours
        if not is_open(hours, self._now().time()):
            raise SourceUnavailableError(f"source {name}: may be asked at {hours} only")
        self._breaker.check()
        with self._slot():
            try:
                result = ask()
            except SourceUnreachableError:
                self._breaker.failed()
                raise
            except (SourceError, SourceUnavailableError):
                self._breaker.succeeded()  # it answered: one study's trouble stops no other's
                raise
        self._breaker.succeeded()
        return result

    @contextmanager
    def _slot(self) -> Iterator[None]:
        """Hold one of the source's associations."""
        until = time.monotonic() + self._settings.answer_seconds
        while True:
            for path in self._slots:
                handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(handle)
                    continue
                try:
                    yield
                finally:
                    os.close(handle)
                return
            if time.monotonic() >= until:
                raise SourceUnavailableError(
                    f"source {self._settings.name}: its {len(self._slots)} associations "
                    "(max_associations) are all in use"
                )
            time.sleep(_POLL_SECONDS)


class _Breaker:
    """Counts failures in a row; from so many on calls are refused for a while.

    After the pause one more failure is enough to leave the source alone again.
    """

    def __init__(self, path: Path, name: str, most: int, pause: float) -> None:
        self._path = path
        self._name = name
        self._most = most
        self._pause = pause

    def check(self) -> None:
        """Raise SourceUnavailableError while the source is left alone."""
        rest = self._read()[1] - time.time()
        if rest > 0:
            raise SourceUnavailableError(
                f"source {self._name}: failed repeatedly and is left alone for {rest:.0f} s more"
            )

    def failed(self) -> None:
        """Count one; tells once when the source is left alone from now on."""
        with self._locked():
            failures, until = self._read()
            failures += 1
            if failures >= self._most and until <= time.time():
                until = time.time() + self._pause
                log.error(
                    "source %s failed %d times in a row and is left alone for %.0f s; "
                    "see what is wrong with it",
                    self._name,
                    failures,
                    self._pause,
                )
            self._write(failures, until)

    def succeeded(self) -> None:
        """Forget the failures."""
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
