"""Several ways into one PACS: when one fails, the next continues where it stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from pacsgrid.errors import SourceError, SourceUnavailableError
from pacsgrid.model import FoundStudy, SeriesFacts, StagedFile, StudyQuery
from pacsgrid.pacs.base import Source

log = logging.getLogger(__name__)
_T = TypeVar("_T")


class FallbackSource:
    """Tries each way in turn until one answers.

    All ways name an instance's file alike, so one completes a retrieval that another began. If
    all fail, the first retryable error is raised, else the first error.

    Parameters
    ----------
    name
        The source's name, for messages.
    ways
        The PACS by retrieve method (``get``, ``move``, ``web``), in the order to try.
    """

    def __init__(self, name: str, ways: Mapping[str, Source]) -> None:
        self._name = name
        self._ways = ways

    def echo(self) -> None:
        """Return if one way answers."""
        self._try(lambda source: source.echo())

    def find_studies(self, query: StudyQuery) -> Iterator[FoundStudy]:
        """Yield each study once, from the first way that answers the whole query."""
        return self._try(lambda source: source.find_studies(query))

    def list_instances(self, study: FoundStudy) -> set[str]:
        """Return the SOP Instance UIDs that the source holds of a study."""
        return self._try(lambda source: source.list_instances(study))

    def list_series(self, study: FoundStudy) -> list[SeriesFacts]:
        """Return what the source says of each series of a study."""
        return self._try(lambda source: source.list_series(study))

    def describe_series(self, study: FoundStudy, series: SeriesFacts) -> SeriesFacts:
        """Return a series with what the source says of its instances.

        Parameters
        ----------
        study, series
            The study and one of its series.
        """
        return self._try(lambda source: source.describe_series(study, series))

    def retrieve(
        self, study: FoundStudy, into: Path, leave_out: Collection[str] = ()
    ) -> list[StagedFile]:
        """Retrieve a study, see `Source.retrieve`; each way continues what an earlier one began.

        Parameters
        ----------
        study, into, leave_out
            As there.
        """
        return self._try(lambda source: source.retrieve(study, into, leave_out))

    def strays(self) -> list[Path]:
        """Return nothing: a PACS has no instance without a study."""
        return []

    @contextmanager
    def keep_open(self) -> Iterator[None]:
        """Keep each way's connection between the calls within this context."""
        with ExitStack() as stack:
            for source in self._ways.values():
                stack.enter_context(source.keep_open())
            yield

    def close(self) -> None:
        """Close connections that are kept open and not in use."""
        for source in self._ways.values():
            source.close()

    def _try(self, call: Callable[[Source], _T]) -> _T:
        errors: list[SourceError | SourceUnavailableError] = []
        for way, source in self._ways.items():
            try:
                return call(source)
            except (SourceError, SourceUnavailableError) as error:
                log.warning("source %s: %s failed: %s", self._name, way, error)
                errors.append(error)
                source.close()  # the limit of associations holds for all ways together
        raise next((error for error in errors if error.retryable), errors[0])
