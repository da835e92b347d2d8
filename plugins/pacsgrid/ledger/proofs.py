"""Proofs: the checksum that a server recomputed of each replica."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from psycopg2.extras import execute_values

from pacsgrid.ledger.database import Store
from pacsgrid.model import ReplicaProof


class Proofs(Store):
    """The newest proof of each replica, and every replica that was ever found bad."""

    def add(self, ref: str, proofs: Sequence[ReplicaProof], now: datetime | None = None) -> None:
        """Enter proofs of a study's replicas.

        They replace a zone's earlier proofs of the same instances, so that a replica that was
        trimmed leaves none. A replica that was bad before and was not repaired since is not
        counted as going bad again.

        Parameters
        ----------
        ref
            The study's reference.
        proofs
            What the servers recomputed.
        now
            When they did; by default the current time.
        """
        rows = [(ref, p.sop_uid, p.zone, p.replica, p.resource, p.sha256, p.good) for p in proofs]
        if not rows:
            return
        with self._database.transaction() as cursor:
            if bad := [row[:-1] for row in rows if not row[-1] and row[3] >= 0]:
                execute_values(
                    cursor,
                    "INSERT INTO pacsgrid.bad_replica"
                    " (ref, sop_uid, zone, replica, resource, sha256)"
                    " SELECT b.* FROM (VALUES %s) AS b (ref, sop_uid, zone, replica, resource,"
                    " sha256) WHERE NOT EXISTS (SELECT FROM pacsgrid.proof p WHERE p.ref = b.ref"
                    " AND p.sop_uid = b.sop_uid AND p.zone = b.zone AND p.resource = b.resource"
                    " AND NOT p.good)",
                    bad,
                )
            execute_values(
                cursor,
                "DELETE FROM pacsgrid.proof p USING (VALUES %s) AS new (sop_uid, zone)"
                f" WHERE p.ref = {cursor.mogrify('%s', (ref,)).decode()}"
                " AND p.sop_uid = new.sop_uid AND p.zone = new.zone",
                list({(p.sop_uid, p.zone) for p in proofs}),
            )
            execute_values(
                cursor,
                "INSERT INTO pacsgrid.proof (ref, sop_uid, zone, replica, resource, sha256, good,"
                " verified_at) VALUES %s",
                [(*row, now or datetime.now(UTC)) for row in rows],
            )

    def of_study(self, ref: str) -> list[ReplicaProof]:
        """Return the newest proof of each replica of a study."""
        return [
            ReplicaProof(*row)
            for row in self._database.all(
                "SELECT sop_uid, zone, resource, replica, sha256, good FROM pacsgrid.proof"
                " WHERE ref = %s ORDER BY sop_uid, zone, replica",
                (ref,),
            )
        ]

    def zones_of(self, ref: str) -> set[str]:
        """Return the zones that have a proven replica of a study."""
        rows = self._database.all("SELECT zone FROM pacsgrid.coverage WHERE ref = %s", (ref,))
        return {zone for (zone,) in rows}

    def remove_zone(self, project: str, zone: str) -> int:
        """Remove a project's proofs of a zone that left the grid.

        Parameters
        ----------
        project
            The project's name.
        zone
            The iRODS zone's name.

        Returns
        -------
        int
            How many proofs there were.
        """
        return self._database.run(
            "DELETE FROM pacsgrid.proof p USING pacsgrid.study s"
            " WHERE s.ref = p.ref AND s.project = %s AND p.zone = %s",
            (project, zone),
        )

    def suspect_resources(self, zones: Sequence[str]) -> list[tuple[str, str, int]]:
        """Return zone, resource and how many objects went bad there again after a repair."""
        rows = self._database.all(
            "SELECT zone, resource, count(*) FROM (SELECT zone, resource, sop_uid"
            " FROM pacsgrid.bad_replica WHERE zone = ANY(%s) AND replica >= 0"
            " GROUP BY zone, resource, ref, sop_uid HAVING count(*) > 1) AS again"
            " GROUP BY zone, resource ORDER BY 1, 2",
            (list(zones),),
        )
        return [(zone, resource, int(count)) for zone, resource, count in rows]
