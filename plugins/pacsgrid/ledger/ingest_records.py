"""Records of ingests and their waves: frozen, and free of identifying values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self


class IngestKind(StrEnum):
    """What an ingest is for, which decides how urgent it is and whether a budget limits it."""

    NAMED = "named"
    PUSHED = "pushed"
    REQUEST = "request"
    NIGHTLY = "nightly"
    BACKFILL = "backfill"


class IngestState(StrEnum):
    """Whether an ingest goes on."""

    RUNNING = "running"
    PAUSED = "paused"
    SPENT = "spent"
    ENDED = "ended"


@dataclass(frozen=True)
class Ingest:
    """An ingest and its progress.

    Attributes
    ----------
    found
        How many studies it had to process.
    verified, held, withdrawn, not_wanted
        How many of them ended so.
    rate
        Studies per hour that its source's waves finished in the last day of work; 0 when unknown.
    waves
        How many waves it has had.
    """

    id: str
    project: str
    source: str
    kind: IngestKind
    state: IngestState
    note: str
    found: int
    verified: int
    held: int
    withdrawn: int
    not_wanted: int
    asked_at: datetime
    changed_at: datetime
    waves: int = 0
    rate: float = 0.0

    COLUMNS = (
        "id, project, source, kind, state, note, found, verified, held, withdrawn,"
        " not_wanted, asked_at, changed_at"
    )

    @classmethod
    def of(cls, row: Sequence[Any], waves: int = 0, rate: float = 0.0) -> Self:
        """Return the ingest of a row of `COLUMNS`.

        Parameters
        ----------
        row
            The row.
        waves, rate
            As in the attributes.
        """
        name, project, source, kind, state, note, *counts, asked_at, changed_at = row
        found, verified, held, withdrawn, not_wanted = counts
        return cls(
            name,
            project,
            source,
            IngestKind(kind),
            IngestState(state),
            note,
            found,
            verified,
            held,
            withdrawn,
            not_wanted,
            asked_at,
            changed_at,
            waves,
            rate,
        )

    @property
    def pending(self) -> int:
        """How many studies are still to be processed."""
        ended = self.verified + self.held + self.withdrawn + self.not_wanted
        return max(0, self.found - ended)

    @property
    def hours_left(self) -> float | None:
        """Hours of work until the end, at the rate so far; None when that is unknown."""
        return self.pending / self.rate if self.rate else None


@dataclass(frozen=True)
class Wave:
    """A run's share of an ingest."""

    run: str
    ingest: str
    number: int
    studies: int
    settled: int


@dataclass(frozen=True)
class Spent:
    """What a source's waves have used of its budget.

    Attributes
    ----------
    since
        When the first of them started; None when there was none.
    size
        In bytes.
    """

    since: datetime | None
    studies: int
    size: int
