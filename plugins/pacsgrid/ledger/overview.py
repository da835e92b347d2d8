"""The ledger as stewards look at it: counts, ages, replica health and one study's story.

Read only, and free of identifying values: what is sealed in the vault is not touched here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pacsgrid.ledger.reading import Reading
from pacsgrid.ledger.rows import AuditRow, StudyRow
from pacsgrid.model import StudyState


@dataclass(frozen=True)
class StateCount:
    """How many studies of a project are in a state, and since when the longest of them."""

    project: str
    state: StudyState
    studies: int
    oldest: datetime


@dataclass(frozen=True)
class HeldEntry:
    """A study, or one file of it (`whole` False), that waits for a steward."""

    ref: str
    project: str
    source: str
    whole: bool
    code: str
    detail: str
    since: datetime


@dataclass(frozen=True)
class ReplicaHealth:
    """What one resource of a zone holds of a project.

    ``good`` and ``bad`` count replicas by their newest proof, ``oldest`` and ``newest`` tell
    when the servers last recomputed them, ``failures`` counts replicas ever found bad there.
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
    """What became verified within one hour; ``size`` in bytes."""

    hour: datetime
    studies: int
    instances: int
    size: int


@dataclass(frozen=True)
class ZoneCopies:
    """One study's replicas in one zone; `at` is when the oldest of them was recomputed."""

    zone: str
    good: int
    bad: int
    at: datetime


@dataclass(frozen=True)
class AccessRow:
    """Someone looked at what identifies a study."""

    who: str
    what: str
    at: datetime


@dataclass(frozen=True)
class DecisionRow:
    """What a steward decided about a held study."""

    verdict: str
    who: str
    reason: str
    profile: str
    at: datetime


@dataclass(frozen=True)
class Story:
    """Everything the ledger tells of one study; ``size`` in bytes."""

    study: StudyRow
    instances: int
    size: int
    held: list[HeldEntry]
    audit: list[AuditRow]
    copies: list[ZoneCopies]
    accesses: list[AccessRow]
    decisions: list[DecisionRow]


_HELD = (
    "SELECT * FROM (SELECT ref, project, source, true AS whole, held_code AS code,"
    " held_detail AS detail, changed_at AS since FROM pacsgrid.study WHERE state = 'held'"
    " UNION ALL SELECT i.ref, s.project, s.source, false, i.code, i.detail, i.since"
    " FROM pacsgrid.held_item i JOIN pacsgrid.study s USING (ref)) held"
)


class Overview(Reading):
    """The flow, what is held, replica health, and one study's story."""

    def states(self) -> list[StateCount]:
        """Return the count of every state that occurs, per project."""
        rows = self._all(
            "SELECT project, state, count(*), min(changed_at) FROM pacsgrid.study"
            " WHERE project = ANY(%s) GROUP BY 1, 2 ORDER BY 1, 2",
            self._projects,
        )
        return [StateCount(p, StudyState(s), n, at) for p, s, n, at in rows]

    def held(self, limit: int = 500) -> list[HeldEntry]:
        """Return what waits for a steward, the oldest first."""
        sql = f"{_HELD} WHERE project = ANY(%s) ORDER BY since, ref, code LIMIT %s"
        return [HeldEntry(*row) for row in self._all(sql, self._projects, limit)]

    def held_reasons(self, ever: bool = False) -> dict[str, int]:
        """Return how often each reason occurs among what is held.

        With `ever`, reasons for which whole studies were held once are there too, with 0.
        """
        sql = f"SELECT code, count(*) FROM ({_HELD}) h WHERE project = ANY(%s) GROUP BY 1"
        found: dict[str, int] = dict(self._all(f"{sql} ORDER BY 2 DESC, 1", self._projects))
        if not ever:
            return found
        past = self._all(
            "SELECT DISTINCT a.reason FROM pacsgrid.audit a JOIN pacsgrid.study s USING (ref)"
            " WHERE a.became = 'held' AND s.project = ANY(%s)",
            self._projects,
        )
        return {**{reason: 0 for (reason,) in past}, **found}

    def replicas(self) -> list[ReplicaHealth]:
        """Return the health of each resource, by project and zone."""
        return [
            ReplicaHealth(*row)
            for row in self._all(
                "SELECT project, zone, resource, good, bad, coalesce(failures, 0), oldest, newest"
                " FROM (SELECT s.project, p.zone, p.resource, count(*) FILTER (WHERE p.good) good,"
                " count(*) FILTER (WHERE NOT p.good) bad, min(p.verified_at) oldest,"
                " max(p.verified_at) newest FROM pacsgrid.proof p JOIN pacsgrid.study s USING (ref)"
                " WHERE s.project = ANY(%s) GROUP BY 1, 2, 3) now"
                " LEFT JOIN (SELECT s.project, b.zone, b.resource, count(*) failures"
                " FROM pacsgrid.bad_replica b JOIN pacsgrid.study s USING (ref) GROUP BY 1, 2, 3)"
                " ever USING (project, zone, resource) ORDER BY 1, 2, 3",
                self._projects,
            )
        ]

    def instances(self) -> dict[str, int]:
        """Return per project how many instances its settled studies should have everywhere."""
        return dict(
            self._all(
                "SELECT s.project, count(*) FROM pacsgrid.instance i JOIN pacsgrid.study s"
                " USING (ref) WHERE s.project = ANY(%s) AND s.state = 'verified'"
                " GROUP BY 1 ORDER BY 1",
                self._projects,
            )
        )

    def throughput(self, hours: int) -> list[HourVolume]:
        """Return what became verified in each of the last hours in which anything did."""
        return [
            HourVolume(*row)
            for row in self._all(
                "SELECT date_trunc('hour', a.at), count(*), coalesce(sum(i.n), 0)::bigint,"
                " coalesce(sum(i.size), 0)::bigint FROM pacsgrid.audit a"
                " JOIN pacsgrid.study s USING (ref) LEFT JOIN LATERAL"
                " (SELECT count(*) n, sum(size) size FROM pacsgrid.instance WHERE ref = a.ref) i"
                " ON true WHERE a.became = 'verified' AND s.project = ANY(%s)"
                " AND a.at > now() - make_interval(hours => %s) GROUP BY 1 ORDER BY 1",
                self._projects,
                hours,
            )
        ]

    def studies(self, state: StudyState | None = None, limit: int = 100) -> list[StudyRow]:
        """Return studies, those that changed last first."""
        rows = self._all(
            "SELECT ref, project, source, profile_hash, state, changed_at FROM pacsgrid.study"
            " WHERE project = ANY(%s) AND (%s::text IS NULL OR state = %s)"
            " ORDER BY changed_at DESC, ref LIMIT %s",
            self._projects,
            state,
            state,
            limit,
        )
        return [StudyRow(r, p, s, h, StudyState(state), at) for r, p, s, h, state, at in rows]

    def story(self, ref: str) -> Story | None:
        """Return what the ledger tells of a study; None when these projects have none such."""
        found = self._all(
            "SELECT ref, project, source, profile_hash, state, changed_at FROM pacsgrid.study"
            " WHERE ref = %s AND project = ANY(%s)",
            ref,
            self._projects,
        )
        if not found:
            return None
        _, project, source, profile, state, changed = found[0]
        ((instances, size),) = self._all(
            "SELECT count(*), coalesce(sum(size), 0)::bigint FROM pacsgrid.instance WHERE ref = %s",
            ref,
        )
        audit = self._all(
            "SELECT ref, coalesce(was, ''), became, actor, reason, at FROM pacsgrid.audit"
            " WHERE ref = %s ORDER BY id",
            ref,
        )
        copies = self._all(
            "SELECT zone, count(*) FILTER (WHERE good), count(*) FILTER (WHERE NOT good),"
            " min(verified_at) FROM pacsgrid.proof WHERE ref = %s GROUP BY 1 ORDER BY 1",
            ref,
        )
        held = self._all(f"{_HELD} WHERE ref = %s ORDER BY since, code", ref)
        accesses = self._all(
            "SELECT who, what, at FROM pacsgrid.access WHERE ref = %s ORDER BY id", ref
        )
        decisions = self._all(
            "SELECT verdict, who, reason, profile, at FROM pacsgrid.decision"
            " WHERE ref = %s ORDER BY id",
            ref,
        )
        return Story(
            study=StudyRow(ref, project, source, profile, StudyState(state), changed),
            instances=instances,
            size=size,
            held=[HeldEntry(*entry) for entry in held],
            audit=[AuditRow(*entry) for entry in audit],
            copies=[ZoneCopies(*entry) for entry in copies],
            accesses=[AccessRow(*entry) for entry in accesses],
            decisions=[DecisionRow(*entry) for entry in decisions],
        )
