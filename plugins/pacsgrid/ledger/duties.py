"""What the replication policy still asks for, and which zones are away."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from pacsgrid.config import ReplicationPolicy
from pacsgrid.ledger.connection import Connected
from pacsgrid.model import StudyState

FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=5), timedelta(hours=6)

# A study is looked after from its deposit on, in whatever state it is. One that was taken up again
# or held since then owes what was proven of it; what it gets anew is the ingest's to deposit.
_DUTIES = """
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
       proven.oldest, mine.changed_at, count(*) OVER () AS duties
FROM mine JOIN held USING (ref) CROSS JOIN wanted
LEFT JOIN proven ON proven.ref = mine.ref AND proven.zone = wanted.zone
ORDER BY (proven.enough IS DISTINCT FROM held.instances OR proven.bad > 0) DESC,
         proven.oldest NULLS FIRST, mine.ref
"""
DEPOSITED = (StudyState.DEPOSITED, StudyState.REPLICATED, StudyState.VERIFIED)


@dataclass(frozen=True)
class Duty:
    """A study in a zone, and what is to be done about it.

    ``lacking`` instances have fewer proven replicas than the policy asks for, ``bad`` replicas
    were found bad and not replaced; ``oldest`` is the oldest of the newest proofs.
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
        """Whether something is missing or bad, beside being due for verification."""
        return self.lacking > 0 or self.bad > 0


@dataclass(frozen=True)
class Absence:
    """A zone that does not answer."""

    zone: str
    since: datetime
    tries: int
    next_try: datetime


class Duties(Connected):
    """One connection to the ledger for planning; each method is one transaction."""

    def all(self, project: str, policy: ReplicationPolicy) -> Iterator[Duty]:
        """Yield every deposited study in every zone of the policy, the most urgent first."""
        for duty, _ in self._rows(project, policy):
            yield duty

    def tonight(self, project: str, policy: ReplicationPolicy, now: datetime) -> Iterator[Duty]:
        """Yield what is to be done in one night.

        All that lacks something; all whose proofs will be older than the policy's interval by
        the next night; and the oldest of the rest, so that each night has its equal share. With
        an interval of 0 days that is everything.
        """
        if policy.reverify_days == 0:
            yield from self.all(project, policy)
            return
        overdue = now - timedelta(days=policy.reverify_days - 1)
        share: int | None = None
        for duty, total in self._rows(project, policy):
            if share is None:
                share = math.ceil(total / policy.reverify_days)
            if duty.damaged or duty.oldest is None or duty.oldest <= overdue or share > 0:
                share -= not duty.damaged
                yield duty
            else:
                return

    def _rows(self, project: str, policy: ReplicationPolicy) -> Iterator[tuple[Duty, int]]:
        values = {
            "project": project,
            "zones": list(policy.copies),
            "copies": list(policy.copies.values()),
            "deposited": [state.value for state in DEPOSITED],
        }
        with self._transaction("duties") as cursor:
            cursor.itersize = 1000
            cursor.execute(_DUTIES, values)
            for row in cursor:
                yield Duty(*row[:-1]), int(row[-1])

    # -- zones that are away --------------------------------------------------------------

    def away(self, now: datetime) -> dict[str, Absence]:
        """Return the zones that are not to be tried before a time that is yet to come."""
        return {a.zone: a for a in self.absences() if a.next_try > now}

    def absences(self) -> list[Absence]:
        """Return every zone that did not answer when it was last tried."""
        with self._transaction() as cursor:
            cursor.execute(
                "SELECT zone, since, tries, next_try FROM pacsgrid.zone_absence ORDER BY zone"
            )
            return [Absence(*row) for row in cursor.fetchall()]

    def absent(self, zone: str, now: datetime) -> Absence:
        """Note that a zone did not answer; the wait doubles each time, up to six hours."""
        with self._transaction() as cursor:
            cursor.execute(
                "INSERT INTO pacsgrid.zone_absence (zone, since, tries, next_try)"
                " VALUES (%(zone)s, %(now)s, 1, %(now)s + %(first)s) ON CONFLICT (zone) DO UPDATE"
                " SET tries = zone_absence.tries + 1, next_try = %(now)s::timestamptz"
                " + least(%(first)s * power(2, least(zone_absence.tries, 20)), %(longest)s)"
                " RETURNING zone, since, tries, next_try",
                {"zone": zone, "now": now, "first": FIRST_WAIT, "longest": LONGEST_WAIT},
            )
            return Absence(*cursor.fetchone())

    def present(self, zone: str) -> None:
        """Note that a zone answers."""
        with self._transaction() as cursor:
            cursor.execute("DELETE FROM pacsgrid.zone_absence WHERE zone = %s", (zone,))

    # -- resources ------------------------------------------------------------------------

    def suspects(self, zones: list[str]) -> list[tuple[str, str, int]]:
        """Return zone, resource and how many objects went bad there again after a repair."""
        with self._transaction() as cursor:
            cursor.execute(
                "SELECT zone, resource, count(*) FROM (SELECT zone, resource, sop_uid"
                " FROM pacsgrid.bad_replica WHERE zone = ANY(%s) AND replica >= 0"
                " GROUP BY zone, resource, ref, sop_uid HAVING count(*) > 1) AS again"
                " GROUP BY zone, resource ORDER BY 1, 2",
                (zones,),
            )
            return [(zone, resource, int(count)) for zone, resource, count in cursor.fetchall()]

    def forget_zone(self, project: str, zone: str) -> int:
        """Drop a project's proofs of a zone that left the grid; returns how many."""
        with self._transaction() as cursor:
            cursor.execute(
                "DELETE FROM pacsgrid.proof p USING pacsgrid.study s"
                " WHERE s.ref = p.ref AND s.project = %s AND p.zone = %s",
                (project, zone),
            )
            return int(cursor.rowcount)
