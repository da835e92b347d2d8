"""The worklist: the studies still to be processed, in order, and which run has claimed which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg2.extras import execute_values

from pacsgrid.ledger.database import Store

NAMED, REQUEST, BACKFILL = 0, 1, 2
"""Priorities: named or pushed studies, a small request or last night's, and a backfill."""
MOST_TRIES = 3
"""How many waves of one ingest take a study that fails in each; the next night tries again."""

# A claim that its run neither uses nor gives back ends after this.
_LEASE = "interval '12 hours'"
# Studies whose ingest was paused in the meantime rest with it.
_RELEASE = (
    "UPDATE pacsgrid.work w SET run = NULL, claimed_until = NULL, paused = EXISTS"
    " (SELECT FROM pacsgrid.ingest i WHERE i.id = w.ingest AND i.state = 'paused')"
)


@dataclass(frozen=True)
class PendingStudy:
    """A study that is to be processed.

    Attributes
    ----------
    day
        Orders studies by their date; 0 where it is unknown.
    instances, size
        How many instances and bytes the source says it has; None where it does not say.
    """

    ref: str
    day: int = 0
    instances: int | None = None
    size: int | None = None


@dataclass(frozen=True)
class WaveLimits:
    """How much one wave takes at most; it takes one study, however large that is.

    Attributes
    ----------
    studies, instances, size
        Numbers of studies, of instances and of bytes; 0 for no limit.
    typical_instances, typical_size
        What counts for a study of which the source does not say it.
    """

    studies: int
    instances: int = 0
    size: int = 0
    typical_instances: float = 0
    typical_size: float = 0

    def cut(self, studies: Sequence[PendingStudy]) -> list[PendingStudy]:
        """Return as many of the studies, from the first on, as the wave takes."""
        instances: float = 0
        size: float = 0
        taken: list[PendingStudy] = []
        for study in studies[: self.studies]:
            instances += _known(study.instances, self.typical_instances)
            size += _known(study.size, self.typical_size)
            full = (self.instances and instances > self.instances) or (
                self.size and size > self.size
            )
            if taken and full:
                break
            taken.append(study)
        return taken


def _known(told: int | None, typical: float) -> float:
    return typical if told is None else told


class Worklist(Store):
    """Pending studies; the database adds and deletes them as studies change their state."""

    def assign(
        self,
        ingest: str,
        priority: int,
        studies: Sequence[PendingStudy],
        take_over: bool = True,
    ) -> int:
        """Let an ingest have studies that no run has claimed.

        Parameters
        ----------
        ingest
            The ingest's id.
        priority
            Its priority; a study that is more urgent already stays so.
        studies
            The studies.
        take_over
            Whether it gets those too that another ingest has.

        Returns
        -------
        int
            How many studies the ingest has of them.
        """
        if not studies:
            return 0
        rows = [(s.ref, s.day, s.instances, s.size) for s in sorted(studies, key=lambda s: s.ref)]
        with self._database.transaction() as cursor:
            cursor.execute(
                "SELECT ref, ingest FROM pacsgrid.work WHERE ref = ANY(%s) AND run IS NULL"
                " AND (%s OR ingest IS NULL OR ingest = %s) ORDER BY ref FOR UPDATE",
                ([ref for ref, *_ in rows], take_over, ingest),
            )
            free: dict[str, str | None] = dict(cursor.fetchall())
            execute_values(
                cursor,
                "UPDATE pacsgrid.work w SET ingest = i.id, paused = i.state = 'paused', tries = 0,"
                " priority = CASE WHEN w.ingest IS NULL"
                " THEN v.priority ELSE least(w.priority, v.priority) END, day = v.day,"
                " instances = v.instances, bytes = v.bytes"
                " FROM (VALUES %s) v (ref, ingest, priority, day, instances, bytes)"
                " JOIN pacsgrid.ingest i ON i.id = v.ingest WHERE w.ref = v.ref",
                [(row[0], ingest, priority, *row[1:]) for row in rows if row[0] in free],
                "(%s, %s, %s::smallint, %s::integer, %s::integer, %s::bigint)",
                page_size=len(rows),
            )
            counts: dict[str, int] = {}
            for before in free.values():
                if before != ingest:
                    counts[ingest] = counts.get(ingest, 0) + 1
                    if before:
                        counts[before] = counts.get(before, 0) - 1
            for name in sorted(counts):
                cursor.execute(
                    "UPDATE pacsgrid.ingest SET found = found + %s WHERE id = %s",
                    (counts[name], name),
                )
            return len(free)

    def set_priority(self, ingest: str, priority: int) -> None:
        """Give the studies of an ingest another priority.

        Parameters
        ----------
        ingest
            The ingest's id.
        priority
            The new priority; studies that are more urgent stay so.
        """
        self._database.run(
            "UPDATE pacsgrid.work SET priority = %s WHERE ingest = %s AND priority > %s",
            (priority, ingest, priority),
        )

    def count_more(self, ingest: str, most: int) -> int:
        """Count an ingest's studies that wait for a wave, no further than `most`.

        Parameters
        ----------
        ingest
            The ingest's id.
        most
            Where to stop.

        Returns
        -------
        int
            Their number, `most` at most.
        """
        ((count,),) = self._database.all(
            "SELECT count(*) FROM (SELECT FROM pacsgrid.work WHERE ingest = %s AND run IS NULL"
            " AND NOT paused LIMIT %s) counted",
            (ingest, most),
        )
        return int(count)

    def claimed(self, run: str, newest_first: bool) -> list[PendingStudy]:
        """Return the studies that a run has claimed and that are still to be processed.

        Parameters
        ----------
        run
            The run's id.
        newest_first
            As for `claim`.
        """
        way = "DESC" if newest_first else "ASC"
        rows = self._database.all(
            "SELECT ref, day, instances, bytes FROM pacsgrid.work WHERE run = %s"
            f" ORDER BY priority, tries, day {way}, ref {way}",
            (run,),
        )
        return [PendingStudy(*row) for row in rows]

    def claim(
        self,
        run: str,
        project: str,
        source: str,
        ingest: str | None,
        newest_first: bool,
        limits: WaveLimits,
    ) -> list[PendingStudy]:
        """Claim the most urgent studies that no other run has.

        The claim ends when the study is finished, when the run releases it, or twelve hours after
        the study's last change of state. Called within a transaction, it is a part of that one.

        Parameters
        ----------
        run
            Id of the run that claims.
        project, source
            Whose studies.
        ingest
            Only the studies of this ingest; None for any of project and source.
        newest_first
            Whether studies of equal priority are taken from the newest on, or from the oldest.
        limits
            How much is claimed at most.

        Returns
        -------
        list of PendingStudy
            The claimed studies, in order.
        """
        way = "DESC" if newest_first else "ASC"
        whose, given = _whose(project, source, ingest)
        found: list[PendingStudy] = []
        with self._database.transaction() as cursor:
            for priority in (NAMED, REQUEST, BACKFILL):
                for tries in range(MOST_TRIES):
                    if len(found) >= limits.studies:
                        break
                    # Each of these reads only what it returns, in the order of an index.
                    cursor.execute(
                        f"SELECT ref, day, instances, bytes FROM pacsgrid.work WHERE {whose}"
                        " AND priority = %s AND tries = %s AND run IS NULL AND NOT paused"
                        f" ORDER BY day {way}, ref {way} LIMIT %s FOR UPDATE SKIP LOCKED",
                        (*given, priority, tries, limits.studies - len(found)),
                    )
                    found += [PendingStudy(*row) for row in cursor.fetchall()]
            taken = limits.cut(found)
            cursor.execute(
                f"UPDATE pacsgrid.work SET run = %s, claimed_until = now() + {_LEASE},"
                " tries = tries + 1 WHERE ref = ANY(%s)",
                (run, [study.ref for study in taken]),
            )
        return taken

    def has_more(self, project: str, source: str, ingest: str | None) -> bool:
        """Return whether a further wave would find something to claim.

        Parameters
        ----------
        project, source
            Whose studies.
        ingest
            Only the studies of this ingest; None for any of project and source.
        """
        whose, given = _whose(project, source, ingest)
        ((more,),) = self._database.all(
            f"SELECT EXISTS (SELECT FROM pacsgrid.work WHERE {whose} AND run IS NULL"
            " AND NOT paused AND tries < %s)",
            (*given, MOST_TRIES),
        )
        return bool(more)

    def release(self, run: str) -> int:
        """End a run's claims; return how many of its studies are still to be processed."""
        return self._database.run(f"{_RELEASE} WHERE w.run = %s", (run,))

    def release_expired(self) -> int:
        """End the claims whose time is over; return how many there were."""
        return self._database.run(f"{_RELEASE} WHERE w.run IS NOT NULL AND w.claimed_until < now()")

    def runs_with_claims(self) -> list[str]:
        """Return the ids of the runs that have claimed studies."""
        return [
            run
            for (run,) in self._database.all(
                "SELECT DISTINCT run FROM pacsgrid.work WHERE run IS NOT NULL ORDER BY 1"
            )
        ]

    def forget_tries(self, project: str, source: str) -> None:
        """Let studies that failed in earlier waves be taken again.

        Parameters
        ----------
        project, source
            Whose studies.
        """
        self._database.run(
            "UPDATE pacsgrid.work SET tries = 0 WHERE project = %s AND source = %s"
            " AND run IS NULL AND tries > 0",
            (project, source),
        )

    def refs(self, project: str, source: str) -> list[str]:
        """Return the references of all pending studies of a project from a source, in order.

        Parameters
        ----------
        project, source
            Whose studies.
        """
        return [
            ref
            for (ref,) in self._database.all(
                "SELECT ref FROM pacsgrid.work WHERE project = %s AND source = %s ORDER BY ref",
                (project, source),
            )
        ]

    def count_by_state(self, project: str, source: str = "") -> dict[str, int]:
        """Count pending studies in each state that has any; cost grows with these alone.

        Parameters
        ----------
        project
            The project.
        source
            The source; empty for any.

        Returns
        -------
        dict
            The number of studies by state.
        """
        only = " AND w.source = %s" if source else ""
        return dict(
            self._database.all(
                "SELECT s.state, count(*) FROM pacsgrid.work w JOIN pacsgrid.study s USING (ref)"
                f" WHERE w.project = %s{only} GROUP BY 1 ORDER BY 1",
                (project, source) if source else (project,),
            )
        )

    def sources_with_work(self) -> list[tuple[str, str]]:
        """Return project and source of the studies that a wave could claim."""
        return self._database.all(
            "SELECT DISTINCT project, source FROM pacsgrid.work"
            " WHERE run IS NULL AND NOT paused ORDER BY 1, 2"
        )


def _whose(project: str, source: str, ingest: str | None) -> tuple[str, tuple[str, ...]]:
    """Return a condition that an index serves, and its values."""
    if ingest:
        return "ingest = %s", (ingest,)
    return "project = %s AND source = %s", (project, source)
