"""Series choices: what runs asked for of a study, and what was left at its source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg2.extras import execute_values

from pacsgrid.ledger.database import Store


@dataclass(frozen=True)
class SeriesChoice:
    """What is asked for of a study.

    Attributes
    ----------
    asked
        The selections of the runs that found it, as JSON, one of which must want a series; none
        for all that the project wants.
    applied
        The hash of the selections by which it was retrieved last; empty for none.
    """

    asked: tuple[str, ...] = ()
    applied: str = ""


@dataclass(frozen=True)
class NotWanted:
    """A series that was left at its source.

    Attributes
    ----------
    series_uid
        The pseudonym of its Series Instance UID.
    instances
        How many instances it has there.
    rule
        The rule that left it out.
    """

    series_uid: str
    modality: str
    instances: int
    rule: str

    COLUMNS = "series_uid, modality, instances, rule"


@dataclass(frozen=True)
class ContentWarning:
    """What a content check found.

    Attributes
    ----------
    code
        The check's code.
    series_uid
        The pseudonym of the series' UID; empty for the study as a whole.
    detail
        What was found, without identifying values.
    """

    code: str
    series_uid: str
    detail: str

    COLUMNS = "code, series_uid, detail"


class SeriesChoices(Store):
    """Which series of a study are taken; each call is one transaction."""

    def of_studies(self, refs: Sequence[str]) -> dict[str, SeriesChoice]:
        """Return the choice of each of some studies that has one."""
        rows = self._database.all(
            "SELECT ref, asked, applied FROM pacsgrid.series_choice WHERE ref = ANY(%s)",
            (list(refs),),
        )
        return {ref: SeriesChoice(tuple(asked), applied) for ref, asked, applied in rows}

    def ask(self, asked: Mapping[str, Sequence[str]]) -> None:
        """Set what runs ask for of some studies.

        Parameters
        ----------
        asked
            Selections by the study's reference; none for all that the project wants.
        """
        if not asked:
            return
        with self._database.transaction() as cursor:
            execute_values(
                cursor,
                "INSERT INTO pacsgrid.series_choice (ref, asked) VALUES %s"
                " ON CONFLICT (ref) DO UPDATE SET asked = excluded.asked",
                [(ref, list(asked[ref])) for ref in sorted(asked)],
                template="(%s, %s::text[])",
            )

    def set_applied(self, ref: str, applied: str) -> None:
        """Set by which selections a study was looked through last.

        Parameters
        ----------
        ref
            The study's reference.
        applied
            The selections' hash.
        """
        self._database.run(
            "INSERT INTO pacsgrid.series_choice (ref, applied) VALUES (%s, %s)"
            " ON CONFLICT (ref) DO UPDATE SET applied = excluded.applied",
            (ref, applied),
        )

    def record(
        self, ref: str, project: str, applied: str, left: Sequence[NotWanted], files: Sequence[str]
    ) -> None:
        """Replace what is recorded as left at a study's source.

        Parameters
        ----------
        ref
            The study's reference.
        project
            The study's project.
        applied
            The hash of the selections; empty for none.
        left
            The series that are not wanted.
        files
            SHA-256 of received files that are not wanted, in hex.
        """
        with self._database.transaction() as cursor:
            cursor.execute("DELETE FROM pacsgrid.not_wanted WHERE ref = %s", (ref,))
            execute_values(
                cursor,
                f"INSERT INTO pacsgrid.not_wanted (ref, project, {NotWanted.COLUMNS}) VALUES %s",
                [
                    (ref, project, one.series_uid, one.modality, one.instances, one.rule)
                    for one in left
                ],
            )
            # Received files without an instance are those that are not wanted.
            cursor.execute("DELETE FROM pacsgrid.received WHERE ref = %s AND sop_uid = ''", (ref,))
            execute_values(
                cursor,
                "INSERT INTO pacsgrid.received (ref, sha256, sop_uid) VALUES %s"
                " ON CONFLICT DO NOTHING",
                [(ref, sha256, "") for sha256 in files],
            )
            self.set_applied(ref, applied)

    def not_wanted(self, ref: str) -> list[NotWanted]:
        """Return the series of a study that were left at its source."""
        rows = self._database.all(
            f"SELECT {NotWanted.COLUMNS} FROM pacsgrid.not_wanted WHERE ref = %s"
            " ORDER BY series_uid",
            (ref,),
        )
        return [NotWanted(*row) for row in rows]

    def count_instances_of(self, refs: Sequence[str]) -> dict[str, int]:
        """Return how many instances are not wanted of each of some studies that has such."""
        rows = self._database.all(
            "SELECT ref, sum(instances)::bigint FROM pacsgrid.not_wanted WHERE ref = ANY(%s)"
            " GROUP BY 1",
            (list(refs),),
        )
        return {ref: int(count) for ref, count in rows}

    def count(self, project: str) -> tuple[int, int]:
        """Return how many series and instances of a project are not wanted."""
        ((series, instances),) = self._database.all(
            "SELECT coalesce(sum(number), 0)::bigint, coalesce(sum(instances), 0)::bigint"
            " FROM pacsgrid.counter WHERE project = %s AND kind = 'not_wanted'",
            (project,),
        )
        return int(series), int(instances)

    def series_of(self, ref: str) -> set[str]:
        """Return the pseudonymous UIDs of the series of which a study, in any version, has some."""
        rows = self._database.all(
            "SELECT DISTINCT series_uid FROM pacsgrid.series WHERE ref = %(ref)s OR ref IN"
            " (SELECT other.ref FROM pacsgrid.study_version mine JOIN pacsgrid.study_version other"
            " USING (origin) WHERE mine.ref = %(ref)s)",
            {"ref": ref},
        )
        return {uid for (uid,) in rows}

    def warn(self, ref: str, project: str, warnings: Sequence[ContentWarning]) -> None:
        """Replace a study's content warnings.

        Parameters
        ----------
        ref
            The study's reference.
        project
            The study's project.
        warnings
            What the checks found this time.
        """
        with self._database.transaction() as cursor:
            cursor.execute("DELETE FROM pacsgrid.content_warning WHERE ref = %s", (ref,))
            execute_values(
                cursor,
                "INSERT INTO pacsgrid.content_warning"
                f" (ref, project, {ContentWarning.COLUMNS}) VALUES %s",
                [(ref, project, one.code, one.series_uid, one.detail) for one in warnings],
            )

    def warnings(self, ref: str) -> list[ContentWarning]:
        """Return a study's content warnings, by code and series."""
        rows = self._database.all(
            f"SELECT {ContentWarning.COLUMNS} FROM pacsgrid.content_warning WHERE ref = %s"
            " ORDER BY code, series_uid",
            (ref,),
        )
        return [ContentWarning(*row) for row in rows]

    def count_warnings(self, project: str) -> dict[str, int]:
        """Return how many content warnings a project has, by code."""
        rows = self._database.all(
            "SELECT key, sum(number)::bigint FROM pacsgrid.counter"
            " WHERE project = %s AND kind = 'content_warning'"
            " GROUP BY 1 HAVING sum(number) > 0 ORDER BY 1",
            (project,),
        )
        return {code: int(count) for code, count in rows}
