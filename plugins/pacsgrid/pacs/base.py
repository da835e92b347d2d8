"""The one interface of every place studies come from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from pacsgrid.model import FoundStudy, StagedFile, StudyQuery


class Source(Protocol):
    """A place studies come from; errors are `SourceError` and `SourceUnavailableError`."""

    def echo(self) -> None:
        """Return if the source answers, raise otherwise."""

    def find_studies(self, query: StudyQuery) -> Iterator[FoundStudy]:
        """Give each study that matches once."""

    def list_instances(self, study: FoundStudy) -> set[str]:
        """Give the SOP Instance UIDs the source holds for the study."""

    def retrieve(self, study: FoundStudy, into: Path) -> list[StagedFile]:
        """Bring the study into a private directory; what is there whole is not fetched again."""

    def strays(self) -> list[Path]:
        """List files that belong to no study; always empty for a PACS."""
