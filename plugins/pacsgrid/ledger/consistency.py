"""Consistency checks of the ledger; every returned row is a violation."""

from __future__ import annotations

from pacsgrid.ledger.database import Store

# What is older was taken out of the audit trail.
_KEPT_SINCE = (
    "coalesce((SELECT max(until) FROM pacsgrid.audit_part WHERE archived_at IS NOT NULL),"
    " '-infinity')"
)

# Each query takes the project, and returns a study's reference and what is wrong.
_CHECKS = {
    "state differs from the last entry of the audit trail": (
        "SELECT s.ref, s.state || ' against ' || coalesce(a.became, 'nothing')"
        " FROM pacsgrid.study s LEFT JOIN LATERAL"
        " (SELECT became FROM pacsgrid.audit WHERE ref = s.ref ORDER BY id DESC LIMIT 1) a ON true"
        " WHERE s.project = %(project)s AND a.became IS DISTINCT FROM s.state"
        f" AND (a.became IS NOT NULL OR s.changed_at >= {_KEPT_SINCE})"
    ),
    "the audit trail lacks a change of state": (
        "SELECT ref, coalesce(was, 'nothing') || ' after ' || coalesce(before, 'nothing') FROM"
        " (SELECT a.ref, was, lag(became) OVER (PARTITION BY a.ref ORDER BY a.id) AS before,"
        " s.found_at FROM pacsgrid.audit a JOIN pacsgrid.study s USING (ref)"
        " WHERE s.project = %(project)s) chain WHERE was IS DISTINCT FROM before"
        f" AND (before IS NOT NULL OR found_at >= {_KEPT_SINCE})"
    ),
    "a proof marked good has another checksum than the instance": (
        "SELECT p.ref, p.zone || ' replica ' || p.replica FROM pacsgrid.proof p"
        " JOIN pacsgrid.study s USING (ref) JOIN pacsgrid.instance i"
        " ON i.ref = p.ref AND i.sop_uid = p.sop_uid"
        " WHERE s.project = %(project)s AND p.good AND p.sha256 <> i.sha256"
    ),
    "replica counts differ from the proofs": (
        "SELECT coalesce(p.ref, h.ref), coalesce(p.zone, h.zone) FROM (SELECT ref, zone,"
        " count(*) FILTER (WHERE good) AS good, min(verified_at) AS oldest FROM pacsgrid.proof"
        " JOIN pacsgrid.study s USING (ref) WHERE s.project = %(project)s GROUP BY 1, 2) p"
        " FULL JOIN (SELECT ref, zone, sum(good * holding.instances) AS good, min(oldest) AS oldest"
        " FROM pacsgrid.holding JOIN pacsgrid.study s USING (ref)"
        " WHERE s.project = %(project)s GROUP BY 1, 2) h ON h.ref = p.ref AND h.zone = p.zone"
        " WHERE p.good IS DISTINCT FROM h.good OR p.oldest IS DISTINCT FROM h.oldest"
    ),
    "counts of instances differ from the instances": (
        "SELECT s.ref, s.instances || ' counted, ' || coalesce(i.n, 0) FROM pacsgrid.study s"
        " LEFT JOIN (SELECT ref, count(*) AS n, sum(size) AS size FROM pacsgrid.instance"
        " WHERE project = %(project)s GROUP BY 1) i USING (ref) WHERE s.project = %(project)s"
        " AND (s.instances <> coalesce(i.n, 0) OR s.bytes <> coalesce(i.size, 0))"
    ),
    "counts of studies by state differ from the studies": (
        "SELECT '-', coalesce(c.key, s.state) FROM (SELECT key, sum(number) AS n,"
        " sum(instances) AS i FROM pacsgrid.counter WHERE project = %(project)s"
        " AND kind = 'state' GROUP BY 1 HAVING sum(number) <> 0) c FULL JOIN"
        " (SELECT state, count(*) AS n, sum(instances) AS i FROM pacsgrid.study"
        " WHERE project = %(project)s GROUP BY 1) s ON c.key = s.state"
        " WHERE c.n IS DISTINCT FROM s.n OR c.i IS DISTINCT FROM s.i"
    ),
    "coverage of a zone differs from its replica counts": (
        "SELECT coalesce(h.ref, c.ref), coalesce(h.zone, c.zone) FROM (SELECT s.ref, h.zone,"
        " s.state IN ('deposited', 'replicated', 'verified') AS deposited, CASE WHEN"
        " sum(h.instances) < s.instances THEN 0 ELSE min(h.good) END AS least, sum(h.bad) AS bad,"
        " min(h.oldest) AS oldest FROM pacsgrid.holding h JOIN pacsgrid.study s USING (ref)"
        " WHERE s.project = %(project)s GROUP BY s.ref, h.zone) h FULL JOIN (SELECT * FROM"
        " pacsgrid.coverage WHERE project = %(project)s) c ON h.ref = c.ref AND h.zone = c.zone"
        " WHERE (h.deposited, h.least, h.bad, h.oldest)"
        " IS DISTINCT FROM (c.deposited, c.least, c.bad, c.oldest)"
    ),
    "a verified study has no instance": (
        "SELECT s.ref, 'verified' FROM pacsgrid.study s WHERE s.project = %(project)s"
        " AND s.state = 'verified'"
        " AND NOT EXISTS (SELECT 1 FROM pacsgrid.instance WHERE ref = s.ref)"
    ),
    "counts of what is not wanted differ from the series": (
        "SELECT '-', c.n || ' counted, ' || s.n FROM (SELECT coalesce(sum(instances), 0) AS n"
        " FROM pacsgrid.counter WHERE project = %(project)s AND kind = 'not_wanted') c CROSS JOIN"
        " (SELECT coalesce(sum(instances), 0) AS n FROM pacsgrid.not_wanted"
        " WHERE project = %(project)s) s WHERE c.n <> s.n"
    ),
    "a study has no entry in the vault": (
        "SELECT s.ref, s.state FROM pacsgrid.study s WHERE s.project = %(project)s"
        " AND s.state <> 'withdrawn'"
        " AND NOT EXISTS (SELECT 1 FROM pacsgrid.vault WHERE ref = s.ref)"
    ),
}


class Consistency(Store):
    """Checks that the ledger's tables agree with each other."""

    def violations(self, project: str) -> list[tuple[str, str, str]]:
        """Return what contradicts itself in a project, as (rule, study's reference, detail).

        Raises
        ------
        RetryableError
            The database does not answer.
        """
        found: list[tuple[str, str, str]] = []
        with self._database.snapshot():
            for rule, sql in _CHECKS.items():
                rows = self._database.all(sql, {"project": project})
                found += [(rule, str(ref), str(detail)) for ref, detail in rows]
        return found
