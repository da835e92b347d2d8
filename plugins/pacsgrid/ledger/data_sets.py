"""Data sets that are derived from releases: their files, and how each zone's copy was proven."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg2.extras import execute_values

from pacsgrid.ledger.database import Store

_THIS = "project = %(project)s AND release = %(release)s AND version = %(version)s"


@dataclass(frozen=True)
class DataSet:
    """A data set, by the version of the release that it is derived from."""

    project: str
    release: str
    version: int

    @property
    def values(self) -> dict[str, object]:
        """The values of an SQL statement."""
        return {"project": self.project, "release": self.release, "version": self.version}


@dataclass(frozen=True)
class DataSetFile:
    """A file of a data set: its path below it, SHA-256 in hex, and bytes."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class DataSetCopy:
    """A data set in a zone, as its last verification found it.

    Attributes
    ----------
    data_set, zone
        The data set and the zone.
    proven_at
        When every replica was last recomputed from storage; None before the first time.
    replicas
        How many replicas were good.
    lacking
        How many files have fewer good replicas than the policy asks for.
    bad
        How many replicas were bad and could not be replaced.
    """

    data_set: DataSet
    zone: str
    proven_at: datetime | None
    replicas: int
    lacking: int
    bad: int


class DataSets(Store):
    """Derived data sets and their copies."""

    def set_files(self, data_set: DataSet, files: Sequence[DataSetFile]) -> bool:
        """Enter the files of a data set that is whole; its copies are to be brought up to date.

        Parameters
        ----------
        data_set
            The data set.
        files
            All of its files.

        Returns
        -------
        bool
            False if the ledger had the same ones.
        """
        with self._database.transaction() as cursor:
            cursor.execute(
                f"SELECT path, sha256, size FROM pacsgrid.data_set_file WHERE {_THIS}",
                data_set.values,
            )
            if {DataSetFile(*row) for row in cursor.fetchall()} == set(files):
                return False
            cursor.execute(f"DELETE FROM pacsgrid.data_set_file WHERE {_THIS}", data_set.values)
            execute_values(
                cursor,
                "INSERT INTO pacsgrid.data_set_file (project, release, version, path, sha256, size)"
                " VALUES %s",
                [(*data_set.values.values(), one.path, one.sha256, one.size) for one in files],
                page_size=1000,
            )
            cursor.execute(
                f"UPDATE pacsgrid.data_set_copy SET proven_at = NULL WHERE {_THIS}",
                data_set.values,
            )
        return True

    def reopen(self, data_set: DataSet) -> None:
        """Enter that a data set is being changed: until it is whole again, nothing is restored."""
        self._database.run(f"DELETE FROM pacsgrid.data_set_file WHERE {_THIS}", data_set.values)

    def files(self, data_set: DataSet) -> list[DataSetFile]:
        """Return the files of a data set, by path; none while it is being changed."""
        rows = self._database.all(
            f"SELECT path, sha256, size FROM pacsgrid.data_set_file WHERE {_THIS} ORDER BY path",
            data_set.values,
        )
        return [DataSetFile(*row) for row in rows]

    def place(self, data_set: DataSet, zone: str) -> None:
        """Enter that a zone is about to get files of a data set; safe to repeat.

        Parameters
        ----------
        data_set
            The data set.
        zone
            The zone's name.
        """
        self._database.run(
            "INSERT INTO pacsgrid.data_set_copy (project, release, version, zone)"
            " VALUES (%(project)s, %(release)s, %(version)s, %(zone)s) ON CONFLICT DO NOTHING",
            {**data_set.values, "zone": zone},
        )

    def set_proof(self, copy: DataSetCopy) -> None:
        """Enter what the verification of a copy found."""
        self._database.run(
            "UPDATE pacsgrid.data_set_copy SET proven_at = %(proven_at)s, replicas = %(replicas)s,"
            f" lacking = %(lacking)s, bad = %(bad)s WHERE {_THIS} AND zone = %(zone)s",
            {
                **copy.data_set.values,
                "zone": copy.zone,
                "proven_at": copy.proven_at,
                "replicas": copy.replicas,
                "lacking": copy.lacking,
                "bad": copy.bad,
            },
        )

    def copies(self, project: str, retired: bool = False) -> list[DataSetCopy]:
        """Return the copies of a project's data sets.

        Parameters
        ----------
        project
            The project's name.
        retired
            Whether to return those of versions that were removed, which are to go; otherwise the
            others.
        """
        rows = self._database.all(
            "SELECT c.release, c.version, c.zone, c.proven_at, c.replicas, c.lacking, c.bad"
            " FROM pacsgrid.data_set_copy c JOIN pacsgrid.release r ON r.project = c.project"
            " AND r.name = c.release AND r.version = c.version WHERE c.project = %s"
            " AND (r.retired_at IS NOT NULL) = %s ORDER BY c.release, c.version, c.zone",
            (project, retired),
        )
        return [
            DataSetCopy(DataSet(project, release, version), *rest)
            for release, version, *rest in rows
        ]

    def due(
        self,
        project: str,
        zones: Sequence[str],
        proven_before: datetime,
        whole_before: datetime | None = None,
    ) -> Mapping[str, list[DataSet]]:
        """Return the data sets whose copies have to be made, repaired or proven again, by zone.

        Parameters
        ----------
        project
            The project's name.
        zones
            The zones that are to have a copy of each.
        proven_before
            Copies whose proof is older are due.
        whole_before
            Leave out data sets that were not whole by then; None for all.
        """
        rows = self._database.all(
            "SELECT z.zone, d.release, d.version FROM (SELECT release, version,"
            " max(listed_at) AS whole_at FROM pacsgrid.data_set_file WHERE project = %(project)s"
            " GROUP BY release, version) d"
            " JOIN pacsgrid.release r ON r.project = %(project)s AND r.name = d.release"
            " AND r.version = d.version AND r.retired_at IS NULL"
            " CROSS JOIN unnest(%(zones)s::text[]) WITH ORDINALITY z (zone, place)"
            " LEFT JOIN pacsgrid.data_set_copy c ON c.project = %(project)s"
            " AND c.release = d.release AND c.version = d.version AND c.zone = z.zone"
            " WHERE (c.proven_at IS NULL OR c.proven_at < %(before)s OR c.lacking > 0 OR c.bad > 0)"
            " AND (%(whole)s::timestamptz IS NULL OR d.whole_at < %(whole)s)"
            " ORDER BY z.place, d.release, d.version",
            {
                "project": project,
                "zones": list(zones),
                "before": proven_before,
                "whole": whole_before,
            },
        )
        found: dict[str, list[DataSet]] = {}
        for zone, release, version in rows:
            found.setdefault(zone, []).append(DataSet(project, release, version))
        return found

    def remove_zone(self, project: str, zone: str) -> None:
        """Drop what is known of a zone that has left a project.

        Parameters
        ----------
        project
            The project's name.
        zone
            The zone's name.
        """
        self._database.run(
            "DELETE FROM pacsgrid.data_set_copy WHERE project = %s AND zone = %s", (project, zone)
        )

    def forget_uncopied(self, project: str) -> None:
        """Drop the files of data sets whose version was removed before any copy was begun.

        Parameters
        ----------
        project
            The project's name.
        """
        self._database.run(
            "DELETE FROM pacsgrid.data_set_file f USING pacsgrid.release r"
            " WHERE f.project = %(project)s AND r.project = f.project AND r.name = f.release"
            " AND r.version = f.version AND r.retired_at IS NOT NULL AND NOT EXISTS"
            " (SELECT FROM pacsgrid.data_set_copy c WHERE c.project = f.project"
            " AND c.release = f.release AND c.version = f.version)",
            {"project": project},
        )

    def forget(self, data_set: DataSet, zone: str) -> None:
        """Enter that a zone has nothing of a data set any more.

        Parameters
        ----------
        data_set
            The data set.
        zone
            The zone's name.
        """
        with self._database.transaction() as cursor:
            cursor.execute(
                f"DELETE FROM pacsgrid.data_set_copy WHERE {_THIS} AND zone = %(zone)s",
                {**data_set.values, "zone": zone},
            )
            cursor.execute(
                f"DELETE FROM pacsgrid.data_set_file WHERE {_THIS} AND NOT EXISTS"
                f" (SELECT FROM pacsgrid.data_set_copy WHERE {_THIS})",
                data_set.values,
            )
