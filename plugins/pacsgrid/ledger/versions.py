"""Versions of a study: the same study of its source, anonymised again under another profile.

Each version is a study of its own in the ledger, with states, instances and proofs of its own. The
newest that was verified is the current one; those before it are superseded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pacsgrid.ledger.connection import Cursor
from pacsgrid.ledger.database import Store
from pacsgrid.model import StudyState

CURRENT = (
    "NOT EXISTS (SELECT FROM pacsgrid.study_version v"
    " WHERE v.ref = s.ref AND v.superseded_at IS NOT NULL)"
)
"""Condition on ``pacsgrid.study s``: no newer version of the study was verified."""
_NEWER = (
    "SELECT FROM pacsgrid.study_version mine JOIN pacsgrid.study_version other USING (origin)"
    " JOIN pacsgrid.study n ON n.ref = other.ref WHERE mine.ref = s.ref"
    " AND other.version > mine.version AND n.held_code IS DISTINCT FROM 'rejected'"
)
# Results are nobody's to anonymise again: they stay as their authors wrote them.
_NO_RESULT = "NOT EXISTS (SELECT FROM pacsgrid.result r WHERE r.ref = s.ref)"
_KEPT = (
    "s.instances <= (SELECT count(DISTINCT o.sop_uid) FROM pacsgrid.received o"
    " WHERE o.ref = s.ref AND o.kept)"
)
_LISTED = (
    "SELECT FROM pacsgrid.release_study l JOIN pacsgrid.release r USING (project, name, version)"
    " WHERE l.ref = %(ref)s AND r.retired_at IS NULL LIMIT 1"
)


@dataclass(frozen=True)
class ReprofileProgress:
    """How far a project's studies are on their way to its profile.

    Attributes
    ----------
    outdated
        Current studies that are verified under another profile.
    underway
        How many of these have a newer version on its way.
    held
        How many of these have a newer version that is held.
    kept
        Superseded versions that stay because a release lists them.
    removing
        Superseded versions that are not gone from every zone yet.
    """

    outdated: int
    underway: int
    held: int
    kept: int
    removing: int


class Versions(Store):
    """Which studies are versions of each other."""

    def outdated(
        self,
        project: str,
        profile_hash: str,
        sources: Sequence[str],
        receivers: Sequence[str],
        limit: int,
    ) -> list[tuple[str, str]]:
        """Return current verified studies under another profile that have no newer version.

        Parameters
        ----------
        project
            The project's name.
        profile_hash
            The hash of the profile that they should have.
        sources
            The names of the sources that give every study again.
        receivers
            The names of receivers; of their studies those are returned of which the site keeps the
            original of each instance.
        limit
            How many to return at most.

        Returns
        -------
        list of tuple of str
            The reference and the source of each, by reference.
        """
        return self._database.all(
            "SELECT s.ref, s.source FROM pacsgrid.study s WHERE s.project = %(project)s"
            " AND (s.profile_hash < %(hash)s OR s.profile_hash > %(hash)s)"
            " AND (s.source = ANY(%(sources)s) OR s.source = ANY(%(receivers)s)"
            f" AND {_KEPT}) AND s.state = 'verified' AND {CURRENT}"
            f" AND NOT EXISTS ({_NEWER}) AND {_NO_RESULT} ORDER BY s.ref LIMIT %(limit)s",
            {
                "project": project,
                "hash": profile_hash,
                "sources": list(sources),
                "receivers": list(receivers),
                "limit": limit,
            },
        )

    def progress(self, project: str, profile_hash: str) -> ReprofileProgress:
        """Return how far a project's studies are on their way to a profile.

        Parameters
        ----------
        project
            The project's name.
        profile_hash
            The hash of the profile that they should have.
        """
        ((outdated, underway, held),) = self._database.all(
            "SELECT count(*), count(newer.state) FILTER (WHERE newer.state <> 'held'),"
            " count(newer.state) FILTER (WHERE newer.state = 'held')"
            " FROM pacsgrid.study s LEFT JOIN LATERAL (SELECT n.state FROM"
            " pacsgrid.study_version mine JOIN pacsgrid.study_version other USING (origin)"
            " JOIN pacsgrid.study n ON n.ref = other.ref WHERE mine.ref = s.ref"
            " AND other.version > mine.version ORDER BY other.version DESC LIMIT 1) newer"
            " ON true WHERE s.project = %(project)s"
            " AND (s.profile_hash < %(hash)s OR s.profile_hash > %(hash)s)"
            f" AND s.state = 'verified' AND {CURRENT} AND {_NO_RESULT}",
            {"project": project, "hash": profile_hash},
        )
        return ReprofileProgress(
            outdated, underway, held, len(self.kept(project)), len(self.to_remove(project))
        )

    def next_number(self, ref: str) -> int:
        """Return the number of the version that would follow a study's newest."""
        ((number,),) = self._database.all(
            "SELECT coalesce(max(other.version), 1) + 1 FROM pacsgrid.study_version mine"
            " JOIN pacsgrid.study_version other USING (origin) WHERE mine.ref = %s",
            (ref,),
        )
        return int(number)

    def add(self, before: str, ref: str, sealed: bytes, profile_hash: str) -> bool:
        """Enter the next version of a verified study, which starts as found at its source.

        Parameters
        ----------
        before
            The reference of the current version.
        ref
            The reference of the next one.
        sealed
            What identifies it, sealed by `Vault.seal`.
        profile_hash
            The de-identification profile that it is to be anonymised with.

        Returns
        -------
        bool
            False if the study is not verified or current any more, or has a newer version.
        """
        with self._database.transaction() as cursor:
            cursor.execute(
                "SELECT project, source FROM pacsgrid.study s WHERE ref = %s"
                f" AND state = 'verified' AND {CURRENT} AND NOT EXISTS ({_NEWER}) FOR UPDATE",
                (before,),
            )
            if (row := cursor.fetchone()) is None:
                return False
            cursor.execute(
                "INSERT INTO pacsgrid.study_version (ref, origin, version) VALUES (%s, %s, 1)"
                " ON CONFLICT DO NOTHING",
                (before, before),
            )
            cursor.execute(
                "SELECT origin, max(other.version) + 1 FROM pacsgrid.study_version mine"
                " JOIN pacsgrid.study_version other USING (origin) WHERE mine.ref = %s"
                " GROUP BY origin",
                (before,),
            )
            origin, version = cursor.fetchone() or ("", 0)
            cursor.execute(
                "INSERT INTO pacsgrid.study (ref, project, source, profile_hash, state)"
                " VALUES (%s, %s, %s, %s, 'found')",
                (ref, *row, profile_hash),
            )
            cursor.execute(
                "INSERT INTO pacsgrid.vault (ref, sealed) VALUES (%s, %s)", (ref, sealed)
            )
            cursor.execute(
                "INSERT INTO pacsgrid.study_version (ref, origin, version) VALUES (%s, %s, %s)",
                (ref, origin, version),
            )
            cursor.execute(
                "INSERT INTO pacsgrid.series_choice (ref, asked)"
                " SELECT %s, asked FROM pacsgrid.series_choice WHERE ref = %s",
                (ref, before),
            )
            return True

    def current(self, refs: Sequence[str]) -> dict[str, tuple[str, bool]]:
        """Return the current version of those of some studies that have several.

        Parameters
        ----------
        refs
            References of first versions, as a source's answer leads to them.

        Returns
        -------
        dict
            By reference: that of the current version, and whether a newer one is on its way.
        """
        rows = self._database.all(
            "SELECT origin, (array_agg(ref ORDER BY version))[1], count(*) FILTER"
            " (WHERE held_code IS DISTINCT FROM 'rejected') > 1 FROM pacsgrid.study_version"
            " JOIN pacsgrid.study USING (ref) WHERE origin = ANY(%s) AND superseded_at IS NULL"
            " GROUP BY origin",
            (list(refs),),
        )
        return {origin: (ref, more) for origin, ref, more in rows}

    def before(self, ref: str) -> list[str]:
        """Return the references of the versions before a study, the oldest first."""
        rows = self._database.all(
            "SELECT old.ref FROM pacsgrid.study_version new JOIN pacsgrid.study_version old"
            " ON old.origin = new.origin AND old.version < new.version"
            " WHERE new.ref = %s ORDER BY old.version",
            (ref,),
        )
        return [old for (old,) in rows]

    def current_of(self, ref: str) -> str:
        """Return the current version of the study that a version belongs to."""
        rows = self._database.all(
            "SELECT other.ref FROM pacsgrid.study_version mine JOIN pacsgrid.study_version other"
            " USING (origin) WHERE mine.ref = %s AND other.superseded_at IS NULL"
            " ORDER BY other.version LIMIT 1",
            (ref,),
        )
        return str(rows[0][0]) if rows else ref

    def unsettled(self, project: str) -> list[str]:
        """Return the verified versions of a project whose predecessor is not superseded."""
        rows = self._database.all(
            "SELECT DISTINCT v.ref FROM pacsgrid.study_version v JOIN pacsgrid.study s USING (ref)"
            " JOIN pacsgrid.study_version old ON old.origin = v.origin"
            " AND old.version < v.version AND old.superseded_at IS NULL"
            " WHERE s.project = %s AND s.state = 'verified' ORDER BY v.ref",
            (project,),
        )
        return [ref for (ref,) in rows]

    def supersede(self, ref: str) -> list[str]:
        """Enter that a version is verified, so that those before it are superseded.

        Parameters
        ----------
        ref
            The version that is verified.

        Returns
        -------
        list of str
            The references of the versions before it.
        """
        with self._database.transaction() as cursor:
            cursor.execute(
                "SELECT old.ref FROM pacsgrid.study_version new JOIN pacsgrid.study_version old"
                " ON old.origin = new.origin AND old.version < new.version"
                " JOIN pacsgrid.study s ON s.ref = new.ref"
                " WHERE new.ref = %s AND s.state = 'verified' ORDER BY old.version",
                (ref,),
            )
            before = [old for (old,) in cursor.fetchall()]
            cursor.execute(
                "UPDATE pacsgrid.study_version SET superseded_at = now()"
                " WHERE ref = ANY(%s) AND superseded_at IS NULL",
                (before,),
            )
        return before

    def kept(self, project: str) -> list[str]:
        """Return the superseded versions of a project that have not been given up."""
        rows = self._database.all(
            "SELECT v.ref FROM pacsgrid.study_version v JOIN pacsgrid.study s USING (ref)"
            " WHERE v.superseded_at IS NOT NULL AND s.project = %s"
            " AND s.state NOT IN ('superseded', 'withdrawn') ORDER BY v.ref",
            (project,),
        )
        return [ref for (ref,) in rows]

    def to_remove(self, project: str) -> list[str]:
        """Return the versions of a project that are given up and not gone from every zone."""
        rows = self._database.all(
            "SELECT ref FROM pacsgrid.study WHERE project = %s AND state = 'superseded'"
            " AND instances > 0 ORDER BY ref",
            (project,),
        )
        return [ref for (ref,) in rows]

    def give_up(self, ref: str) -> bool:
        """Give a superseded version up, unless a release that is not retired lists it.

        Its results stay: they refer to UIDs that all versions have.

        Parameters
        ----------
        ref
            The version's reference.

        Returns
        -------
        bool
            Whether it is given up, now or before.
        """
        with self._database.transaction() as cursor:
            state = _lock(cursor, ref)
            if state is StudyState.SUPERSEDED:
                return True
            # `Releases.add` locks the study's row as well, so no release comes in between.
            cursor.execute(_LISTED, {"ref": ref})
            if state is StudyState.WITHDRAWN or cursor.fetchone() is not None:
                return False
            cursor.execute(
                "UPDATE pacsgrid.study SET state = 'superseded', held_code = NULL,"
                " held_detail = NULL, held_sha256 = NULL, changed_at = now() WHERE ref = %s",
                (ref,),
            )
            cursor.execute("DELETE FROM pacsgrid.work WHERE ref = %s", (ref,))
            return True

    def forget(self, ref: str) -> None:
        """Delete instances and proofs of a version that is gone from every zone.

        Parameters
        ----------
        ref
            The version's reference.
        """
        with self._database.transaction() as cursor:
            if _lock(cursor, ref) is not StudyState.SUPERSEDED:
                return
            for table in ("proof", "bad_replica", "deid_report", "received", "held_item"):
                cursor.execute(f"DELETE FROM pacsgrid.{table} WHERE ref = %s", (ref,))
            cursor.execute("DELETE FROM pacsgrid.instance WHERE ref = %s", (ref,))
            cursor.execute("UPDATE pacsgrid.vault SET sealed = ''::bytea WHERE ref = %s", (ref,))


def version_of(cursor: Cursor, ref: str) -> tuple[str, int]:
    """Return the first version of a study, and the study's own number; its own and 1 by default.

    A result is an origin of its own, and lies in the version that it refers to.

    Parameters
    ----------
    cursor
        A cursor of the transaction.
    ref
        The study's reference.
    """
    cursor.execute(
        "SELECT origin, version FROM pacsgrid.study_version WHERE ref = %(ref)s"
        " UNION ALL SELECT %(ref)s, coalesce(v.version, 1) FROM pacsgrid.result r"
        " LEFT JOIN pacsgrid.study_version v ON v.ref = r.study_ref WHERE r.ref = %(ref)s",
        {"ref": ref},
    )
    origin, version = cursor.fetchone() or (ref, 1)
    return str(origin), int(version)


def _lock(cursor: Cursor, ref: str) -> StudyState:
    cursor.execute("SELECT state FROM pacsgrid.study WHERE ref = %s FOR UPDATE", (ref,))
    ((state,),) = cursor.fetchall()
    return StudyState(state)
