"""Fill a ledger with made-up studies, as it is when they are settled.

Rows are made by PostgreSQL itself, with the triggers off; what triggers would have kept is then
computed by the statements that the migration uses.
"""

from __future__ import annotations

from contextlib import closing

import psycopg2

from pacsgrid.ledger.migrate import migrate

PROJECT = "demo"
INSTANCES = 10
# A share of the studies is underway or held, as in an archive that is being taken in.
_ROWS = """
SET session_replication_role = replica;
SET synchronous_commit = off;
INSERT INTO pacsgrid.study (ref, project, source, profile_hash, state, held_code, held_detail,
    found_at, changed_at, subject, study_uid, instances, bytes)
SELECT 'st-' || substr(md5(n::text), 1, 20), 'demo', 'pacs', repeat('b', 64), s.state,
    CASE s.state WHEN 'held' THEN (ARRAY['identity-left', 'truncated', 'burned-in'])[1 + n % 3] END,
    CASE s.state WHEN 'held' THEN 'a name is left in (0010,0010)' END,
    now() - (n % 900000) * interval '30 s', now() - (n % 900000) * interval '29 s',
    'P' || substr(md5('p' || n / 2), 1, 14), '2.25.' || n || repeat('7', 30),
    CASE WHEN s.state = 'verified' THEN 10 ELSE 0 END,
    CASE WHEN s.state = 'verified' THEN 5242880 ELSE 0 END
FROM generate_series(1, %(studies)s) n CROSS JOIN LATERAL (SELECT CASE
    WHEN n %% 1000 = 1 THEN 'held' WHEN n %% 1000 = 2 THEN 'found'
    WHEN n %% 5000 = 3 THEN 'anonymised' ELSE 'verified' END AS state) s;
INSERT INTO pacsgrid.vault SELECT ref, decode(repeat('ab', 200), 'hex') FROM pacsgrid.study;
INSERT INTO pacsgrid.deid_report (ref, sha256, body)
SELECT ref, repeat('c', 64), repeat('d', 400) FROM pacsgrid.study WHERE state = 'verified';
INSERT INTO pacsgrid.audit (ref, was, became, actor, at)
SELECT s.ref, w.was, w.became, 'pipeline', s.changed_at FROM pacsgrid.study s
CROSS JOIN (VALUES (1, NULL, 'found'), (2, 'found', 'retrieved'), (3, 'retrieved', 'anonymised'),
    (4, 'anonymised', 'deposited'), (5, 'deposited', 'replicated'), (6, 'replicated', 'verified'))
    AS w (step, was, became) WHERE s.state = 'verified';
INSERT INTO pacsgrid.instance
SELECT 'demo', s.study_uid || '.' || n, s.ref, s.study_uid, s.study_uid || '.' || n / 4, s.subject,
    (ARRAY['CT', 'MR', 'CR', 'DX', 'US'])[1 + length(s.ref || s.study_uid) %% 5],
    md5(s.ref || n) || md5(n || s.ref), 524288
FROM pacsgrid.study s, generate_series(1, 10) n WHERE s.state = 'verified';
INSERT INTO pacsgrid.proof
SELECT i.ref, i.sop_uid, z.zone, 0, z.zone || '-disk', i.sha256, true,
    now() - (hashtext(i.ref) & 1048575) %% 2400000 * interval '1 s'
FROM pacsgrid.instance i, (VALUES ('brno'), ('praha')) z (zone);
INSERT INTO pacsgrid.held_item (ref, code, detail, sha256, project, since)
SELECT ref, 'truncated', 'the file ends early', md5(ref) || md5(ref), project, changed_at
FROM pacsgrid.study WHERE state = 'verified' AND hashtext(ref) %% 1000 = 0;
INSERT INTO pacsgrid.holding (ref, zone, good, instances, bad, oldest)
SELECT ref, zone, 1, count(*), 0, min(verified_at) FROM pacsgrid.proof GROUP BY ref, zone;
INSERT INTO pacsgrid.series (ref, series_uid, project, modality, instances, bytes)
SELECT ref, series_uid, project, modality, count(*), sum(size) FROM pacsgrid.instance
GROUP BY ref, series_uid, project, modality;
INSERT INTO pacsgrid.coverage (ref, zone, project, deposited, least, bad, oldest)
SELECT ref, zone, 'demo', true, good, bad, oldest FROM pacsgrid.holding;
SELECT pacsgrid.recount();
INSERT INTO pacsgrid.counter (project, kind, key, at, number, instances, bytes)
SELECT project, 'volume', '', date_trunc('hour', changed_at, 'UTC'), count(*), sum(instances),
    sum(bytes) FROM pacsgrid.study WHERE state = 'verified' GROUP BY 1, 2, 3, 4;
INSERT INTO pacsgrid.release VALUES ('demo', 'lung', 1, repeat('e', 64));
INSERT INTO pacsgrid.release_study
SELECT 'demo', 'lung', 1, ref FROM pacsgrid.study WHERE state = 'verified' LIMIT 10000;
SELECT pacsgrid.count_release('demo', 'lung', 1);
"""


def fill(dsn: str, studies: int) -> None:
    """Make a ledger with some settled studies of ten instances in two zones each.

    Parameters
    ----------
    dsn
        libpq connection string of an empty database; the role must be a superuser.
    studies
        How many studies.
    """
    migrate(dsn)
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("SET maintenance_work_mem = '256MB'; SET work_mem = '128MB'")
        cursor.execute("SELECT to_regclass('pacsgrid.work') IS NOT NULL")
        worklist = cursor.fetchone() == (True,)
        cursor.execute(_ROWS.replace("n % ", "n %% ") % {"studies": studies})
        if worklist:
            cursor.execute(
                "INSERT INTO pacsgrid.work (ref, project, source) SELECT ref, project, source"
                " FROM pacsgrid.study WHERE state IN ('found', 'anonymised')"
            )
        connection.commit()
        connection.autocommit = True
        cursor.execute("VACUUM ANALYZE")
