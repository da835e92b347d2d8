"""Replication tasks: what the replication policy still asks for, per study and zone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from pacsgrid.config import ReplicationPolicy
from pacsgrid.ledger.database import Store
from pacsgrid.model import StudyState

DEPOSITED = (StudyState.DEPOSITED, StudyState.REPLICATED, StudyState.VERIFIED)
"""The states of studies all of whose instances are in the home zone."""

# A study has replication tasks from its deposit on, in whatever state it is. Of one that was
# reopened or held since then, only instances with a proof count: the ingest deposits new ones.
_TASKS = """
WITH mine AS (
    SELECT s.ref, s.state, s.changed_at FROM pacsgrid.study s
    WHERE s.project = %(project)s AND (s.state = ANY(%(deposited)s)
        OR s.state <> 'withdrawn' AND EXISTS (SELECT FROM pacsgrid.holding h WHERE h.ref = s.ref))
), wanted (zone, copies) AS (SELECT * FROM unnest(%(zones)s::text[], %(copies)s::int[])),
held AS (
    SELECT ref, count(*) AS instances FROM pacsgrid.instance
    JOIN mine USING (ref) WHERE project = %(project)s AND state = ANY(%(deposited)s) GROUP BY ref
    UNION ALL SELECT ref, count(DISTINCT sop_uid) FROM pacsgrid.proof
    JOIN mine USING (ref) WHERE state <> ALL(%(deposited)s) GROUP BY ref
), proven AS (
    SELECT h.ref, h.zone, sum(h.instances) FILTER (WHERE h.good >= w.copies) AS enough,
           sum(h.bad) AS bad, min(h.oldest) AS oldest
    FROM pacsgrid.holding h JOIN wanted w USING (zone) GROUP BY h.ref, h.zone
)
SELECT mine.ref, wanted.zone, held.instances,
       (held.instances - coalesce(proven.enough, 0))::int, coalesce(proven.bad, 0)::int,
       proven.oldest, mine.changed_at, count(*) OVER () AS tasks
FROM mine JOIN held USING (ref) CROSS JOIN wanted
LEFT JOIN proven ON proven.ref = mine.ref AND proven.zone = wanted.zone
ORDER BY (proven.enough IS DISTINCT FROM held.instances OR proven.bad > 0) DESC,
         proven.oldest NULLS FIRST, mine.ref
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
        for task, _ in self._counted(project, policy):
            yield task

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
        share: int | None = None
        for task, total in self._counted(project, policy):
            if share is None:
                share = math.ceil(total / policy.reverify_days)
            if task.damaged or task.oldest is None or task.oldest <= overdue or share > 0:
                share -= not task.damaged
                yield task
            else:
                return

    def _counted(
        self, project: str, policy: ReplicationPolicy
    ) -> Iterator[tuple[ReplicationTask, int]]:
        """Yield each task with the number of all tasks."""
        values = {
            "project": project,
            "zones": list(policy.copies),
            "copies": list(policy.copies.values()),
            "deposited": [state.value for state in DEPOSITED],
        }
        for row in self._database.stream(_TASKS, values):
            yield ReplicationTask(*row[:-1]), int(row[-1])
