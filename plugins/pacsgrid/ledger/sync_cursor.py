"""How far each source was queried, so that a synchronisation that was missed is caught up."""

from __future__ import annotations

from datetime import date

from pacsgrid.ledger.database import Database


class SyncCursor:
    """Up to which study date one project has queried one source.

    Parameters
    ----------
    database
        The ledger's.
    project
        The project's name.
    source
        The name of the DICOM source.
    """

    def __init__(self, database: Database, project: str, source: str) -> None:
        self._database = database
        self._key = (project, source)

    def read(self) -> date | None:
        """Return the last day that was queried, with all days before it; None before the first."""
        rows = self._database.all(
            "SELECT through FROM pacsgrid.sync_place WHERE project = %s AND source = %s", self._key
        )
        return rows[0][0] if rows else None

    def since(self) -> date | None:
        """Return the first day that was queried; None if all days up to `read` were."""
        rows = self._database.all(
            "SELECT since FROM pacsgrid.sync_place WHERE project = %s AND source = %s", self._key
        )
        return rows[0][0] if rows else None

    def extend_back(self, since: date | None) -> None:
        """Store the first day that was queried; None when no earlier one is left to ask for."""
        self._database.run(
            "UPDATE pacsgrid.sync_place SET since = %s, changed_at = now()"
            " WHERE project = %s AND source = %s",
            (since, *self._key),
        )

    def advance(self, through: date) -> None:
        """Store that every day up to `through` was queried; an earlier day changes nothing."""
        self._database.run(
            "INSERT INTO pacsgrid.sync_place (project, source, through) VALUES (%s, %s, %s)"
            " ON CONFLICT (project, source) DO UPDATE SET changed_at = now(),"
            " through = greatest(pacsgrid.sync_place.through, excluded.through)",
            (*self._key, through),
        )
