"""Releases: versioned, frozen lists of studies that researchers were given."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg2.extras import execute_values

from pacsgrid.ledger.database import Store


@dataclass(frozen=True)
class ReleaseRecord:
    """A version of a release; ``retired_at`` is set when a withdrawal replaced it."""

    name: str
    version: int
    manifest_sha256: str
    made_at: datetime
    retired_at: datetime | None


class Releases(Store):
    """Versions of releases, and the studies that each lists."""

    def versions(self, project: str, name: str | None = None) -> list[ReleaseRecord]:
        """Return versions of releases, the oldest first.

        Parameters
        ----------
        project
            The project's name.
        name
            Of one release; None for all.
        """
        rows = self._database.all(
            "SELECT name, version, manifest_sha256, made_at, retired_at FROM pacsgrid.release"
            " WHERE project = %s AND name = coalesce(%s, name) ORDER BY name, version",
            (project, name),
        )
        return [ReleaseRecord(*row) for row in rows]

    def add(
        self,
        project: str,
        name: str,
        version: int,
        manifest_sha256: str,
        refs: Sequence[str],
        left_out: Collection[tuple[str, str]] = (),
    ) -> None:
        """Enter a version of a release; repeating it changes nothing.

        Parameters
        ----------
        project
            The project's name.
        name
            The release's name.
        version
            Counted from 1.
        manifest_sha256
            Of the version's manifest, in hex.
        refs
            The studies that it lists.
        left_out
            Series of these studies that it does not list, as (reference, series UID).
        """
        with self._database.transaction() as cursor:
            cursor.execute(
                "INSERT INTO pacsgrid.release (project, name, version, manifest_sha256)"
                " VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (project, name, version, manifest_sha256),
            )
            execute_values(
                cursor,
                "INSERT INTO pacsgrid.release_study (project, name, version, ref) VALUES %s"
                " ON CONFLICT DO NOTHING",
                [(project, name, version, ref) for ref in refs],
            )
            execute_values(
                cursor,
                "INSERT INTO pacsgrid.release_left_out (project, name, version, ref, series_uid)"
                " VALUES %s ON CONFLICT DO NOTHING",
                [(project, name, version, ref, series) for ref, series in sorted(left_out)],
            )

    def study_refs(self, project: str, name: str, version: int) -> list[str]:
        """Return the references of the studies that a version lists.

        Parameters
        ----------
        project
            The project's name.
        name
            The release's name.
        version
            Counted from 1.
        """
        rows = self._database.all(
            "SELECT ref FROM pacsgrid.release_study"
            " WHERE project = %s AND name = %s AND version = %s ORDER BY ref",
            (project, name, version),
        )
        return [ref for (ref,) in rows]

    def series_left_out(self, project: str, name: str, version: int) -> set[tuple[str, str]]:
        """Return the series of its studies that a version does not list.

        Parameters
        ----------
        project
            The project's name.
        name
            The release's name.
        version
            Counted from 1.

        Returns
        -------
        set of tuple
            References of studies and UIDs of series.
        """
        rows = self._database.all(
            "SELECT ref, series_uid FROM pacsgrid.release_left_out"
            " WHERE project = %s AND name = %s AND version = %s",
            (project, name, version),
        )
        return {(ref, series) for ref, series in rows}

    def mark_retired(self, project: str, name: str, version: int) -> None:
        """Enter that a version was removed.

        Parameters
        ----------
        project
            The project's name.
        name
            The release's name.
        version
            Counted from 1.
        """
        self._database.run(
            "UPDATE pacsgrid.release SET retired_at = now()"
            " WHERE project = %s AND name = %s AND version = %s AND retired_at IS NULL",
            (project, name, version),
        )
