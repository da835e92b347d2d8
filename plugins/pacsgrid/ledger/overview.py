"""What stewards see of the ledger: counts and ages of states, replica health, a study's story.

It only reads, and no identifying value: vault entries are not read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pacsgrid.ledger.audit import AuditTrail
from pacsgrid.ledger.held_items import HELD
from pacsgrid.ledger.project_view import ProjectView
from pacsgrid.ledger.records import (
    AccessRecord,
    DecisionRecord,
    HeldRecord,
    StateChange,
    StudyRecord,
)
from pacsgrid.model import StudyState


@dataclass(frozen=True)
class StateCount:
    """How many studies of a project are in a state; ``oldest`` is when the first came into it."""

    project: str
    state: StudyState
    studies: int
    oldest: datetime


@dataclass(frozen=True)
class ReplicaHealth:
    """What one resource of a zone holds of a project.

    Attributes
    ----------
    good, bad
        How many replicas are good and bad by their newest proof.
    failures
        How often a replica was found bad there.
    oldest, newest
        When the servers recomputed the oldest and the newest of these proofs.
    """

    project: str
    zone: str
    resource: str
    good: int
    bad: int
    failures: int
    oldest: datetime
    newest: datetime


@dataclass(frozen=True)
class HourVolume:
    """What became verified within one hour; ``size`` is in bytes."""

    hour: datetime
    studies: int
    instances: int
    size: int


@dataclass(frozen=True)
class ZoneCopies:
    """One study's replicas in one zone; ``at`` is when the oldest of their proofs was made."""

    zone: str
    good: int
    bad: int
    at: datetime


@dataclass(frozen=True)
class Story:
    """What the ledger knows of one study; ``size`` is in bytes."""

    study: StudyRecord
    instances: int
    size: int
    held: list[HeldRecord]
    audit: list[StateChange]
    copies: list[ZoneCopies]
    accesses: list[AccessRecord]
    decisions: list[DecisionRecord]


class Overview(ProjectView):
    """Studies by state, held studies, replica health, and the story of one study."""

    def states(self) -> list[StateCount]:
        """Return the count of every state that occurs, per project."""
        rows = self._all(
            "SELECT project, state, count(*), min(changed_at) FROM pacsgrid.study"
            " WHERE project = ANY(%s) GROUP BY 1, 2 ORDER BY 1, 2",
            (self._projects,),
        )
        return [StateCount(p, StudyState(s), n, at) for p, s, n, at in rows]

    def held(self, limit: int = 500) -> list[HeldRecord]:
        """Return at most `limit` held studies and files, the oldest first."""
        sql = f"{HELD} WHERE project = ANY(%s) ORDER BY since, ref, code LIMIT %s"
        return [HeldRecord(*row) for row in self._all(sql, (self._projects, limit))]

    def held_reasons(self, ever: bool = False) -> dict[str, int]:
        """Return how often each reason occurs among what is held, the most frequent first.

        With `ever`, the reasons that whole studies were held for in the past come too, with 0.
        """
        sql = f"SELECT code, count(*) FROM ({HELD}) h WHERE project = ANY(%s) GROUP BY 1"
        rows = self._all(f"{sql} ORDER BY 2 DESC, 1", (self._projects,))
        found: dict[str, int] = dict(rows)
        if not ever:
            return found
        past = self._all(
            "SELECT DISTINCT a.reason FROM pacsgrid.audit a JOIN pacsgrid.study s USING (ref)"
            " WHERE a.became = 'held' AND s.project = ANY(%s)",
            (self._projects,),
        )
        return {**{reason: 0 for (reason,) in past}, **found}

    def replicas(self) -> list[ReplicaHealth]:
        """Return the health of each resource, by project and zone."""
        rows = self._all(
            "SELECT project, zone, resource, good, bad, coalesce(failures, 0), oldest, newest"
            " FROM (SELECT s.project, p.zone, p.resource, count(*) FILTER (WHERE p.good) good,"
            " count(*) FILTER (WHERE NOT p.good) bad, min(p.verified_at) oldest,"
            " max(p.verified_at) newest FROM pacsgrid.proof p JOIN pacsgrid.study s USING (ref)"
            " WHERE s.project = ANY(%s) GROUP BY 1, 2, 3) now"
            " LEFT JOIN (SELECT s.project, b.zone, b.resource, count(*) failures"
            " FROM pacsgrid.bad_replica b JOIN pacsgrid.study s USING (ref) GROUP BY 1, 2, 3)"
            " ever USING (project, zone, resource) ORDER BY 1, 2, 3",
            (self._projects,),
        )
        return [ReplicaHealth(*row) for row in rows]

    def instances(self) -> dict[str, int]:
        """Return per project how many instances its verified studies have."""
        return dict(
            self._all(
                "SELECT s.project, count(*) FROM pacsgrid.instance i JOIN pacsgrid.study s"
                " USING (ref) WHERE s.project = ANY(%s) AND s.state = 'verified'"
                " GROUP BY 1 ORDER BY 1",
                (self._projects,),
            )
        )

    def throughput(self, hours: int) -> list[HourVolume]:
        """Return what became verified in each of the last hours in which anything did."""
        rows = self._all(
            "SELECT date_trunc('hour', a.at), count(*), coalesce(sum(i.n), 0)::bigint,"
            " coalesce(sum(i.size), 0)::bigint FROM pacsgrid.audit a"
            " JOIN pacsgrid.study s USING (ref) LEFT JOIN LATERAL"
            " (SELECT count(*) n, sum(size) size FROM pacsgrid.instance WHERE ref = a.ref) i"
            " ON true WHERE a.became = 'verified' AND s.project = ANY(%s)"
            " AND a.at > now() - make_interval(hours => %s) GROUP BY 1 ORDER BY 1",
            (self._projects, hours),
        )
        return [HourVolume(*row) for row in rows]

    def studies(self, state: StudyState | None = None, limit: int = 100) -> list[StudyRecord]:
        """Return studies, those whose state changed last first.

        Parameters
        ----------
        state
            None for any state.
        limit
            How many at most.
        """
        rows = self._all(
            f"SELECT {StudyRecord.COLUMNS} FROM pacsgrid.study"
            " WHERE project = ANY(%s) AND (%s::text IS NULL OR state = %s)"
            " ORDER BY changed_at DESC, ref LIMIT %s",
            (self._projects, state, state, limit),
        )
        return [StudyRecord.of(row) for row in rows]

    def story(self, ref: str) -> Story | None:
        """Return what the ledger knows of a study, all of one state of the ledger.

        None when these projects have no such study.
        """
        with self.snapshot():
            return self._story(ref)

    def _story(self, ref: str) -> Story | None:
        found = self._all(
            f"SELECT {StudyRecord.COLUMNS} FROM pacsgrid.study"
            " WHERE ref = %s AND project = ANY(%s)",
            (ref, self._projects),
        )
        if not found:
            return None
        ((instances, size),) = self._all(
            "SELECT count(*), coalesce(sum(size), 0)::bigint FROM pacsgrid.instance WHERE ref = %s",
            (ref,),
        )
        copies = self._all(
            "SELECT zone, count(*) FILTER (WHERE good), count(*) FILTER (WHERE NOT good),"
            " min(verified_at) FROM pacsgrid.proof WHERE ref = %s GROUP BY 1 ORDER BY 1",
            (ref,),
        )
        held = self._all(f"{HELD} WHERE ref = %s ORDER BY since, code", (ref,))
        trail = AuditTrail(self._database)
        return Story(
            study=StudyRecord.of(found[0]),
            instances=instances,
            size=size,
            held=[HeldRecord(*row) for row in held],
            audit=trail.changes(ref),
            copies=[ZoneCopies(*row) for row in copies],
            accesses=trail.accesses(ref),
            decisions=trail.decisions(ref),
        )
