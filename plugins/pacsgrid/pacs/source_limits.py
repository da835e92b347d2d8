"""Spare a source: a limit of associations, permitted hours, and pauses after repeated failures.

All processes of this machine share the state directory. An association's slot is a file lock,
which the end of its process frees.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from datetime import time as clock
from pathlib import Path
from typing import TypeVar

from pacsgrid.config import SourceSettings
from pacsgrid.errors import SourceError, SourceUnavailableError, SourceUnreachableError
from pacsgrid.model import FoundStudy, SeriesFacts, StagedFile, StudyQuery
from pacsgrid.pacs.base import Source
from pacsgrid.pacs.circuit_breaker import CircuitBreaker

_T = TypeVar("_T")
_POLL_SECONDS = 0.2
# An association that is kept and not in use is closed, and its slot freed, after so many seconds.
_KEPT_SECONDS = 5.0


def is_open(hours: str, now: clock) -> bool:
    """Return whether a time of day is within a source's hours.

    Parameters
    ----------
    hours
        As in ``20:00-06:00``; "" for always.
    now
        Local time of day.
    """
    if not hours:
        return True
    start, end = (clock.fromisoformat(part) for part in hours.split("-"))
    return start <= now < end if start < end else now >= start or now < end


class LimitedSource:
    """A source that is asked only as often and as much as its settings allow.

    Every call may raise `SourceUnavailableError`: outside its hours, while its associations are
    all in use, or during a pause after repeated failures.

    Parameters
    ----------
    settings
        The source's settings.
    source
        The source itself.
    now
        The local time.
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
        self._breaker = CircuitBreaker(
            folder / f"{settings.name}.json",
            settings.name,
            settings.failures,
            settings.pause_seconds,
        )
        self._lock = threading.Lock()
        self._keeping = 0
        # The slot of the association that is kept, and what frees it when nothing is asked.
        self._kept: ExitStack | None = None
        self._timer: threading.Timer | None = None
        self._slots = [
            folder / f"{settings.name}.{number}.lock" for number in range(settings.max_associations)
        ]

    def echo(self) -> None:
        """Return if the source answers; asks at any hour and during a pause.

        A steward who tests the connection wants the answer now.
        """
        with self._slot():
            self._source.echo()
        self._breaker.record_success()

    def find_studies(self, query: StudyQuery) -> Iterator[FoundStudy]:
        """Yield each study that matches, once."""
        return self._call(lambda: self._source.find_studies(query))

    def list_instances(self, study: FoundStudy) -> set[str]:
        """Return the SOP Instance UIDs that the source holds of a study."""
        return self._call(lambda: self._source.list_instances(study))

    def list_series(self, study: FoundStudy) -> list[SeriesFacts]:
        """Return what the source says of each series of a study."""
        return self._call(lambda: self._source.list_series(study))

    def describe_series(self, study: FoundStudy, series: SeriesFacts) -> SeriesFacts:
        """Return a series with what the source says of its instances.

        Parameters
        ----------
        study, series
            The study and one of its series.
        """
        return self._call(lambda: self._source.describe_series(study, series))

    def retrieve(
        self, study: FoundStudy, into: Path, leave_out: Collection[str] = ()
    ) -> list[StagedFile]:
        """Retrieve a study, see `Source.retrieve`.

        Parameters
        ----------
        study, into, leave_out
            As there.
        """
        return self._call(lambda: self._source.retrieve(study, into, leave_out))

    def strays(self) -> list[Path]:
        """List files that belong to no study."""
        return self._source.strays()

    @contextmanager
    def keep_open(self) -> Iterator[None]:
        """Keep the association, and its slot, between the calls within this context.

        When nothing is asked for some seconds, both are given up until the next call.
        """
        with self._source.keep_open():
            with self._lock:
                self._keeping += 1
            try:
                yield
            finally:
                with self._lock:
                    self._keeping -= 1
                    last = not self._keeping
                if last:
                    self.close()

    def close(self) -> None:
        """Close the association that is kept, if it is not in use, and free its slot."""
        with self._lock:
            if self._timer:
                self._timer.cancel()
                self._timer = None
            if self._kept:
                self._source.close()
                self._kept.close()
                self._kept = None

    def _call(self, ask: Callable[[], _T]) -> _T:
        name, hours = self._settings.name, self._settings.hours
        if not is_open(hours, self._now().time()):
            raise SourceUnavailableError(f"source {name}: may be asked at {hours} only")
        self._breaker.check()
        with self._slot():
            try:
                result = ask()
            except SourceUnreachableError:
                self._breaker.record_failure()
                raise
            except (SourceError, SourceUnavailableError):
                # The source answered: one study's trouble must not stop the others.
                self._breaker.record_success()
                raise
        self._breaker.record_success()
        return result

    @contextmanager
    def _slot(self) -> Iterator[None]:
        """Hold one of the source's associations, the one that is kept if there is one."""
        with self._lock:
            if self._timer:
                self._timer.cancel()
                self._timer = None
            held, self._kept = self._kept, None
        with ExitStack() as stack:
            stack.enter_context(held or self._free_slot())
            try:
                yield
            finally:
                self._keep_or_close(stack)

    def _keep_or_close(self, slot: ExitStack) -> None:
        """Take over the slot of a call that has ended if its association is kept."""
        with self._lock:
            if self._keeping and self._kept is None:
                self._kept = slot.pop_all()
                self._timer = threading.Timer(_KEPT_SECONDS, self.close)
                self._timer.daemon = True
                self._timer.start()
            else:
                self._source.close()

    @contextmanager
    def _free_slot(self) -> Iterator[None]:
        """Hold a slot that nobody holds."""
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
                    # A process that was forked meanwhile holds the file open too.
                    fcntl.flock(handle, fcntl.LOCK_UN)
                    os.close(handle)
                return
            if time.monotonic() >= until:
                raise SourceUnavailableError(
                    f"source {self._settings.name}: its {len(self._slots)} associations "
                    "(max_associations) are all in use"
                )
            time.sleep(_POLL_SECONDS)
