"""Replication tasks: what the replication policy still asks for, per study and zone."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pacsgrid.config import ReplicationPolicy
from pacsgrid.ledger.database import Store
from pacsgrid.model import StudyState

DEPOSITED = (StudyState.DEPOSITED, StudyState.REPLICATED, StudyState.VERIFIED)
"""The states of studies all of whose instances are in the home zone."""

# A study has replication tasks from its deposit on, in whatever state it is. Of one that was
# reopened or held since then, only instances with a proof count: the ingest deposits new ones.
_TASK = """
SELECT s.ref, c.zone, s.instances,
       s.instances - coalesce((SELECT sum(h.instances) FROM pacsgrid.holding h WHERE h.ref = s.ref
           AND h.zone = c.zone AND h.good >= %(copies)s), 0)::int,
       c.bad, c.oldest, s.changed_at
FROM pacsgrid.coverage c JOIN pacsgrid.study s USING (ref)
WHERE c.project = %(project)s AND c.zone = %(zone)s AND c.deposited
"""
_LACKING = f"{_TASK} AND c.least < %(copies)s"
_BAD = f"{_TASK} AND c.bad > 0 AND c.least >= %(copies)s"
_GOOD = """
SELECT s.ref, c.zone, s.instances, 0, 0, c.oldest, s.changed_at
FROM pacsgrid.coverage c JOIN pacsgrid.study s USING (ref)
WHERE c.project = %(project)s AND c.zone = %(zone)s AND c.deposited
  AND c.least >= %(copies)s AND c.bad = 0
ORDER BY c.oldest, c.ref
"""
# Studies that a zone has no proof of yet.
_BARE = """
SELECT s.ref, %(zone)s::text, s.instances, s.instances, 0, NULL::timestamptz, s.changed_at
FROM pacsgrid.study s WHERE s.project = %(project)s AND s.state = ANY(%(states)s)
  AND s.instances > 0
  AND NOT EXISTS (SELECT FROM pacsgrid.coverage c WHERE c.ref = s.ref AND c.zone = %(zone)s)
"""
# One study after another: they are few, however large the ledger is.
_OPEN = """
WITH mine AS MATERIALIZED (
    SELECT DISTINCT ref FROM pacsgrid.coverage WHERE project = %(project)s AND NOT deposited
)
SELECT mine.ref, %(zone)s::text, held.instances,
       (held.instances - coalesce(proven.enough, 0))::int, coalesce(proven.bad, 0)::int,
       proven.oldest, s.changed_at
FROM mine
CROSS JOIN LATERAL (SELECT changed_at FROM pacsgrid.study
    WHERE ref = mine.ref AND state NOT IN ('withdrawn', 'superseded') OFFSET 0) AS s
CROSS JOIN LATERAL (SELECT count(DISTINCT sop_uid) AS instances FROM pacsgrid.proof
    WHERE ref = mine.ref) AS held
CROSS JOIN LATERAL (SELECT sum(instances) FILTER (WHERE good >= %(copies)s) AS enough,
    sum(bad) AS bad, min(oldest) AS oldest FROM pacsgrid.holding
    WHERE ref = mine.ref AND zone = %(zone)s) AS proven
"""
_DEPOSITED = """
SELECT coalesce(sum(number) FILTER (WHERE kind = 'state' AND key = ANY(%(deposited)s)), 0)::bigint,
       coalesce(sum(instances) FILTER (WHERE kind = 'state' AND key = ANY(%(deposited)s)),
           0)::bigint,
       coalesce(sum(number) FILTER (WHERE kind = 'covered' AND key = %(zone)s), 0)::bigint
FROM pacsgrid.counter WHERE project = %(project)s AND kind IN ('state', 'covered')
"""


@dataclass(frozen=True)
class ReplicationTask:
    """A study in a zone, and what is to be done about it.

    Attributes
    ----------
    instances
        How many the zone should hold.
    lacking
        How many of them have fewer proven replicas than the policy asks for.
    bad
        How many replicas were found bad and not replaced.
    oldest
        When the server recomputed the replica whose proof is the oldest; None without a proof.
    since
        When the study's state changed last.
    """

    ref: str
    zone: str
    instances: int
    lacking: int
    bad: int
    oldest: datetime | None
    since: datetime

    @property
    def damaged(self) -> bool:
        """Whether replicas are missing or bad; otherwise they are only to be verified again."""
        return self.lacking > 0 or self.bad > 0


@dataclass(frozen=True)
class ZoneDuties:
    """What a zone is to hold of a project, and how old its proofs are.

    Attributes
    ----------
    studies, instances
        How many the zone is to hold.
    overdue
        How many studies have a proof from before the given time.
    oldest
        When the oldest of the proofs was made; None without a proof.
    """

    studies: int
    instances: int
    overdue: int
    oldest: datetime | None


class ReplicationTasks(Store):
    """Tasks computed from the policy and the proofs; they are not stored."""

    def all(self, project: str, policy: ReplicationPolicy) -> Iterator[ReplicationTask]:
        """Yield every deposited study in every zone of the policy, the most urgent first.

        Parameters
        ----------
        project
            The project's name.
        policy
            How many replicas each zone is to hold.
        """
        still_open = self._open(project, policy)
        yield from self._damaged(project, policy, still_open)
        yield from self._good(project, policy, still_open)

    def damaged(self, project: str, policy: ReplicationPolicy) -> list[ReplicationTask]:
        """Return the studies with missing or bad replicas, those without a proof first.

        The cost grows with their number, not with that of all studies.

        Parameters
        ----------
        project
            The project's name.
        policy
            How many replicas each zone is to hold.
        """
        return self._damaged(project, policy, self._open(project, policy))

    def due(
        self, project: str, policy: ReplicationPolicy, now: datetime
    ) -> Iterator[ReplicationTask]:
        """Yield what one nightly run is to do, the most urgent first.

        These are all studies with missing or bad replicas, those whose proofs would be older than
        the policy's interval by the next night, and the oldest of the rest, so that each night
        verifies an equal share. With an interval of 0 days it is everything.

        Parameters
        ----------
        project
            The project's name.
        policy
            How many replicas each zone is to hold, and how often they are verified.
        now
            The time of the run.
        """
        if policy.reverify_days == 0:
            yield from self.all(project, policy)
            return
        overdue = now - timedelta(days=policy.reverify_days - 1)
        still_open = self._open(project, policy)
        total = sum(duties.studies for duties in self._zones(project, policy, still_open, now))
        share = math.ceil(total / policy.reverify_days)
        yield from self._damaged(project, policy, still_open)
        for task in self._good(project, policy, still_open):
            if share <= 0 and task.oldest is not None and task.oldest > overdue:
                return
            share -= 1
            yield task

    def zones(
        self, project: str, policy: ReplicationPolicy, before: datetime
    ) -> dict[str, ZoneDuties]:
        """Return what each zone is to hold; the cost does not grow with it.

        Parameters
        ----------
        project
            The project's name.
        policy
            How many replicas each zone is to hold.
        before
            Proofs from before this time are overdue.
        """
        duties = self._zones(project, policy, self._open(project, policy), before)
        return dict(zip(policy.copies, duties, strict=True))

    def _zones(
        self,
        project: str,
        policy: ReplicationPolicy,
        still_open: list[ReplicationTask],
        before: datetime,
    ) -> list[ZoneDuties]:
        found = []
        for zone, copies in policy.copies.items():
            values = _values(project, zone, copies) | {"before": before}
            ((studies, instances, _),) = self._database.all(_DEPOSITED, values)
            ((overdue, oldest),) = self._database.all(
                "SELECT (SELECT count(*) FROM pacsgrid.coverage WHERE project = %(project)s"
                " AND zone = %(zone)s AND deposited AND oldest < %(before)s),"
                " (SELECT min(oldest) FROM pacsgrid.coverage WHERE project = %(project)s"
                " AND zone = %(zone)s AND deposited)",
                values,
            )
            mine = [task for task in still_open if task.zone == zone]
            ages = [task.oldest for task in mine if task.oldest is not None]
            found.append(
                ZoneDuties(
                    int(studies) + len(mine),
                    int(instances) + sum(task.instances for task in mine),
                    int(overdue) + sum(age < before for age in ages),
                    min([*ages, *([oldest] if oldest else [])], default=None),
                )
            )
        return found

    def _open(self, project: str, policy: ReplicationPolicy) -> list[ReplicationTask]:
        """Return the tasks of studies that were held or reopened after their deposit."""
        return [
            ReplicationTask(*row)
            for zone, copies in policy.copies.items()
            for row in self._database.all(_OPEN, _values(project, zone, copies))
        ]

    def _damaged(
        self, project: str, policy: ReplicationPolicy, still_open: list[ReplicationTask]
    ) -> list[ReplicationTask]:
        found = [task for task in still_open if task.damaged]
        for zone, copies in policy.copies.items():
            values = _values(project, zone, copies)
            rows = self._database.all(_LACKING, values) + self._database.all(_BAD, values)
            rows += self._bare(values)
            found += [ReplicationTask(*row) for row in rows]
        return sorted(found, key=_urgency)

    def _bare(self, values: dict[str, Any]) -> list[Any]:
        """Return the studies that a zone has no proof of."""
        ((studies, _, covered),) = self._database.all(_DEPOSITED, values)
        underway = [StudyState.DEPOSITED.value, StudyState.REPLICATED.value]
        rows = self._database.all(_BARE, values | {"states": underway})
        # Verified studies are looked through only if some of them lack a proof, as in a new zone.
        if studies - covered > len(rows):
            rows += self._database.all(_BARE, values | {"states": [StudyState.VERIFIED.value]})
        return rows

    def _good(
        self, project: str, policy: ReplicationPolicy, still_open: list[ReplicationTask]
    ) -> Iterator[ReplicationTask]:
        """Yield what is to be verified again, the oldest proof first."""
        with ExitStack() as stack:
            parts: list[Iterator[ReplicationTask]] = [
                iter(sorted((t for t in still_open if not t.damaged), key=_urgency))
            ]
            for zone, copies in policy.copies.items():
                rows = self._database.stream(_GOOD, _values(project, zone, copies))
                stack.enter_context(closing(rows))
                parts.append(ReplicationTask(*row) for row in rows)
            yield from heapq.merge(*parts, key=_urgency)


def _values(project: str, zone: str, copies: int) -> dict[str, Any]:
    deposited = [state.value for state in DEPOSITED]
    return {"project": project, "zone": zone, "copies": copies, "deposited": deposited}


def _urgency(task: ReplicationTask) -> tuple[datetime, str]:
    return task.oldest or datetime.min.replace(tzinfo=UTC), task.ref
