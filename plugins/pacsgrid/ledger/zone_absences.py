"""Zones that do not answer: since when, and when each is tried again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from pacsgrid.ledger.database import Store

FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=5), timedelta(hours=6)


@dataclass(frozen=True)
class ZoneAbsence:
    """A zone that did not answer when it was last tried.

    Attributes
    ----------
    since
        When it did not answer for the first time.
    tries
        How often in a row it did not.
    next_try
        When to try it again.
    """

    zone: str
    since: datetime
    tries: int
    next_try: datetime


class ZoneAbsences(Store):
    """Zones that do not answer; all workers of a site share it, so one waits for all."""

    def all(self) -> list[ZoneAbsence]:
        """Return every zone that did not answer when it was last tried."""
        rows = self._database.all(
            "SELECT zone, since, tries, next_try FROM pacsgrid.zone_absence ORDER BY zone"
        )
        return [ZoneAbsence(*row) for row in rows]

    def mark_absent(self, zone: str, now: datetime) -> ZoneAbsence:
        """Enter that a zone did not answer.

        The wait before the next try doubles each time, from five minutes to six hours.

        Parameters
        ----------
        zone
            The iRODS zone's name.
        now
            When it did not answer.

        Returns
        -------
        ZoneAbsence
            With the time of the next try.
        """
        ((*row,),) = self._database.all(
            "INSERT INTO pacsgrid.zone_absence (zone, since, tries, next_try)"
            " VALUES (%(zone)s, %(now)s, 1, %(now)s + %(first)s) ON CONFLICT (zone) DO UPDATE"
            " SET tries = zone_absence.tries + 1, next_try = %(now)s::timestamptz"
            " + least(%(first)s * power(2, least(zone_absence.tries, 20)), %(longest)s)"
            " RETURNING zone, since, tries, next_try",
            {"zone": zone, "now": now, "first": FIRST_WAIT, "longest": LONGEST_WAIT},
        )
        return ZoneAbsence(*row)

    def mark_present(self, zone: str) -> None:
        """Enter that a zone answers."""
        self._database.run("DELETE FROM pacsgrid.zone_absence WHERE zone = %s", (zone,))
