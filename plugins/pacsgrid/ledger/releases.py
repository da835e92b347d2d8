"""Releases: versioned, frozen lists of studies that researchers were given."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg2.extras import execute_values

from pacsgrid.errors import RetryableError
from pacsgrid.ledger.database import Store


@dataclass(frozen=True)
class ReleaseRecord:
    """A version of a release.

    ``retired_at`` is set when a withdrawal replaced it; ``doi`` is empty where none was reserved.
    """

    name: str
    version: int
    manifest_sha256: str
    made_at: datetime
    retired_at: datetime | None
    title: str = ""
    doi: str = ""


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
            "SELECT name, version, manifest_sha256, made_at, retired_at, title, doi"
            " FROM pacsgrid.release"
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

        Raises
        ------
        RetryableError
            A study has a newer version meanwhile, and this one is being removed.
        """
        with self._database.transaction() as cursor:
            cursor.execute(
                "INSERT INTO pacsgrid.release (project, name, version, manifest_sha256)"
                " VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (project, name, version, manifest_sha256),
            )
            # A version of a study that is given up is removed from the zones.
            cursor.execute(
                "SELECT ref, state FROM pacsgrid.study WHERE ref = ANY(%s) ORDER BY ref FOR SHARE",
                (list(refs),),
            )
            if gone := [ref for ref, state in cursor.fetchall() if state == "superseded"]:
                raise RetryableError(
                    f"{len(gone)} studies have a newer version meanwhile, such as {gone[0]}; "
                    "select the cohort again"
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
            cursor.execute("SELECT pacsgrid.count_release(%s, %s, %s)", (project, name, version))

    def describe(
        self, project: str, name: str, version: int, title: str = "", doi: str = ""
    ) -> ReleaseRecord:
        """Enter a version's title and DOI, and return the version.

        Parameters
        ----------
        project
            The project's name.
        name
            The release's name.
        version
            Counted from 1.
        title, doi
            What is empty stays as it was.

        Returns
        -------
        ReleaseRecord
            The version as it is now.
        """
        rows = self._database.all(
            "UPDATE pacsgrid.release SET title = coalesce(nullif(%s, ''), title),"
            " doi = coalesce(nullif(%s, ''), doi)"
            " WHERE project = %s AND name = %s AND version = %s"
            " RETURNING name, version, manifest_sha256, made_at, retired_at, title, doi",
            (title, doi, project, name, version),
        )
        return ReleaseRecord(*rows[0])

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
