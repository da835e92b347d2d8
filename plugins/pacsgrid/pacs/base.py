"""The interface of everything that studies come from."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

from pacsgrid.config import SourceSettings
from pacsgrid.errors import ConfigError
from pacsgrid.model import FoundStudy, SeriesFacts, StagedFile, StudyQuery


class Source(Protocol):
    """A PACS, drop folder or receiver; raises `SourceError` and `SourceUnavailableError`."""

    def echo(self) -> None:
        """Return if the source answers, raise otherwise."""

    def find_studies(self, query: StudyQuery) -> Iterator[FoundStudy]:
        """Yield each study that matches, once."""

    def list_instances(self, study: FoundStudy) -> set[str]:
        """Return the SOP Instance UIDs that the source holds of a study."""

    def list_series(self, study: FoundStudy) -> list[SeriesFacts]:
        """Return what the source says of each series of a study, without asking for instances."""

    def describe_series(self, study: FoundStudy, series: SeriesFacts) -> SeriesFacts:
        """Return a series with what the source says of its instances.

        Parameters
        ----------
        study
            The study.
        series
            One of its series, as `list_series` returned it.
        """

    def retrieve(
        self, study: FoundStudy, into: Path, leave_out: Collection[str] = ()
    ) -> list[StagedFile]:
        """Retrieve a study into a private directory.

        Parameters
        ----------
        study
            A study that `find_studies` yielded.
        into
            The directory. Complete files of an interrupted retrieval are not fetched again.
        leave_out
            Series Instance UIDs of series that are not wanted. Files of them that are in the
            directory already are removed.

        Returns
        -------
        list of StagedFile
            One file for each instance.
        """

    def strays(self) -> list[Path]:
        """List files that belong to no study; always empty for a PACS."""

    def keep_open(self) -> AbstractContextManager[None]:
        """Keep connections open between the calls within this context, where that saves time."""

    def close(self) -> None:
        """Close connections that are kept open and not in use."""


class ConnectionlessSource:
    """What the sources have in common that keep no connection."""

    def keep_open(self) -> AbstractContextManager[None]:
        """Keep nothing."""
        return nullcontext()

    def close(self) -> None:
        """Close nothing."""


def folder_of(settings: SourceSettings) -> Path:
    """Return the folder of a source; raise ConfigError if the settings name none."""
    if settings.folder is None:
        raise ConfigError(f"source {settings.name}: folder is not set")
    return settings.folder
