"""What the ledger must say of itself: questions whose every answer is a fault."""

from __future__ import annotations

from contextlib import closing

import psycopg2

from pacsgrid.errors import RetryableError

# Each question has one parameter, the project, and answers with a study and what is wrong.
_QUESTIONS = {
    "state differs from the last entry of the audit trail": (
        "SELECT s.ref, s.state || ' against ' || coalesce(a.became, 'nothing')"
        " FROM pacsgrid.study s LEFT JOIN LATERAL"
        " (SELECT became FROM pacsgrid.audit WHERE ref = s.ref ORDER BY id DESC LIMIT 1) a ON true"
        " WHERE s.project = %(project)s AND a.became IS DISTINCT FROM s.state"
    ),
    "the audit trail has a gap": (
        "SELECT ref, coalesce(was, 'nothing') || ' after ' || coalesce(before, 'nothing') FROM"
        " (SELECT a.ref, was, lag(became) OVER (PARTITION BY a.ref ORDER BY a.id) AS before"
        " FROM pacsgrid.audit a JOIN pacsgrid.study s USING (ref)"
        " WHERE s.project = %(project)s) chain WHERE was IS DISTINCT FROM before"
    ),
    "a good proof is not of the anonymiser's bytes": (
        "SELECT p.ref, p.zone || ' replica ' || p.replica FROM pacsgrid.proof p"
        " JOIN pacsgrid.study s USING (ref) JOIN pacsgrid.instance i"
        " ON i.project = s.project AND i.sop_uid = p.sop_uid"
        " WHERE s.project = %(project)s AND p.good AND p.sha256 <> i.sha256"
    ),
    "what planning counts differs from the proofs": (
        "SELECT coalesce(p.ref, h.ref), coalesce(p.zone, h.zone) FROM (SELECT ref, zone,"
        " count(*) FILTER (WHERE good) AS good, min(verified_at) AS oldest FROM pacsgrid.proof"
        " JOIN pacsgrid.study s USING (ref) WHERE s.project = %(project)s GROUP BY 1, 2) p"
        " FULL JOIN (SELECT ref, zone, sum(good * instances) AS good, min(oldest) AS oldest"
        " FROM pacsgrid.holding JOIN pacsgrid.study s USING (ref)"
        " WHERE s.project = %(project)s GROUP BY 1, 2) h ON h.ref = p.ref AND h.zone = p.zone"
        " WHERE p.good IS DISTINCT FROM h.good OR p.oldest IS DISTINCT FROM h.oldest"
    ),
    "a verified study has no instance": (
        "SELECT s.ref, 'verified' FROM pacsgrid.study s WHERE s.project = %(project)s"
        " AND s.state = 'verified'"
        " AND NOT EXISTS (SELECT 1 FROM pacsgrid.instance WHERE ref = s.ref)"
    ),
    "a study has no entry in the vault": (
        "SELECT s.ref, s.state FROM pacsgrid.study s WHERE s.project = %(project)s"
        " AND s.state <> 'withdrawn'"
        " AND NOT EXISTS (SELECT 1 FROM pacsgrid.vault WHERE ref = s.ref)"
    ),
}


def faults(dsn: str, project: str) -> list[tuple[str, str, str]]:
    """Return what contradicts itself, as (rule, study's reference, detail).

    Raises
    ------
    RetryableError
        The database does not answer.
    """
    try:
        connection = psycopg2.connect(dsn, connect_timeout=5)
    except psycopg2.OperationalError:
        raise RetryableError("the ledger's database does not answer") from None
    found: list[tuple[str, str, str]] = []
    with closing(connection), connection, connection.cursor() as cursor:
        for rule, sql in _QUESTIONS.items():
            cursor.execute(sql, {"project": project})
            found += [(rule, str(ref), str(detail)) for ref, detail in cursor.fetchall()]
    return found


def sealed_entries(dsn: str, project: str) -> list[tuple[str, bytes]]:
    """Return every vault entry of a project, still encrypted; a withdrawn study's is empty."""
    with closing(psycopg2.connect(dsn, connect_timeout=5)) as connection, connection.cursor() as c:
        c.execute(
            "SELECT ref, sealed FROM pacsgrid.vault JOIN pacsgrid.study USING (ref)"
            " WHERE project = %s AND length(sealed) > 0",
            (project,),
        )
        return [(str(ref), bytes(sealed)) for ref, sealed in c.fetchall()]
