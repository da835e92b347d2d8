"""The cohort index at the size of a hospital: what the page asks for, and PostgreSQL's plan.

Fills a ledger with studies of three series, at a tenth of the size and at the size. Prints CPU
seconds of PostgreSQL's backend, so that other work on the machine does not count, and fails when a
query takes more than half a second.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from psycopg2.extras import execute_values

from pacsgrid.cohort_query import parse
from pacsgrid.embedded.postgres import EmbeddedPostgres
from pacsgrid.ledger import Ledger
from pacsgrid.ledger.cohort_index import Selection

QUERIES = (
    "Modality = CT and BodyPartExamined = CHEST and SliceThickness <= 1.5 and PatientAge = 60..70"
    " and not has ContrastBolusAgent",
    "Modality = CT",
    "StudyDescription ~ 'low dose' and has SEG",
    "Manufacturer = 'Maker 3' or (StudyDate >= 2023 and PatientSex = F)",
    "not has SliceThickness",
    "zone = praha and Modality = MR and NumberOfSlices > 2",
)
# CPU seconds that a query may take.
LIMIT = 0.5
GATE = ("age", "sex", "body_part", "study_month")
# Values that PostgreSQL draws from, by attribute; a series has one of each.
_VALUES: dict[str, list[str | float]] = {
    "Modality": ["CT", "CT", "MR", "DX"],
    "ModalitiesInStudy": ["SEG"],
    "BodyPartExamined": ["CHEST", "HEAD", "ABDOMEN", "PELVIS", "SPINE", "KNEE"],
    "PatientSex": ["F", "M"],
    "PatientAge": [float(age) for age in range(18, 90)],
    "StudyDate": [20150011.0 + 10000 * n + 100 * m for n in range(10) for m in range(1, 13)],
    "StudyDescription": [
        f"{part} {word}"
        for part in ("Chest", "Head", "Abdomen", "Pelvis", "Spine", "Knee")
        for word in ("low dose", "routine", "follow-up", "trauma", "staging", "angiography")
    ],
    "SeriesDescription": [f"series {n}" for n in range(500)],
    "Manufacturer": [f"Maker {n}" for n in range(8)],
    "SliceThickness": [0.75, 1.0, 1.25, 1.5, 3.0, 5.0],
    "ContrastBolusAgent": ["agent"],
    "Rows": [256.0, 512.0, 1024.0],
    "KVP": [80.0, 100.0, 120.0],
    "ConvolutionKernel": [f"kernel {n}" for n in range(40)],
    "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
    "NumberOfSeriesRelatedInstances": [float(n) for n in range(1, 400)],
}
_UIDS = """
SET LOCAL session_replication_role = replica;
INSERT INTO pacsgrid.cohort_term (attribute, text, label)
SELECT a.name, a.prefix || n, a.prefix || n
FROM (VALUES ('pacsgrid.subject', 'S', 1), ('StudyInstanceUID', '2.25.', 1),
        ('SeriesInstanceUID', '2.26.', 3)) a (name, prefix, times),
    generate_series(0, %(studies)s * a.times - 1) n;
"""
_ROWS = """
SET LOCAL session_replication_role = replica;
INSERT INTO pacsgrid.study (ref, project, source, profile_hash, state, subject, study_uid)
SELECT 'st-' || lpad(to_hex(n), 20, '0'), 'lung', 'drop', 'h', 'verified', 'S' || n / 2,
    '2.25.' || n FROM generate_series(0, %(studies)s - 1) n;
INSERT INTO pacsgrid.coverage (ref, zone, project, deposited, least, bad, oldest)
SELECT ref, zone, project, true, 1, 0, now()
FROM pacsgrid.study, (VALUES ('brno'), ('praha')) z (zone);
INSERT INTO pacsgrid.cohort_study (ref, project, verified, person, sex, age, body_parts, month,
    instances, bytes)
SELECT s.ref, 'lung', true, t.id, pg_temp.one('PatientSex', n), 18 + pg_temp.draw(n, 3) %% 72,
    pg_temp.one('BodyPartExamined', n), 201501 + 100 * (pg_temp.draw(n, 4) %% 10)
    + pg_temp.draw(n, 5) %% 12, 600, 3e8
FROM generate_series(0, %(studies)s - 1) n
JOIN pacsgrid.study s ON s.study_uid = '2.25.' || n
JOIN pacsgrid.cohort_term t ON t.attribute = 'pacsgrid.subject' AND t.text = 'S' || n / 2;
INSERT INTO pacsgrid.cohort_series (study, series_uid, modality, body_part, manufacturer,
    thickness, instances, bytes, terms)
SELECT y.id, u.text, pg_temp.one('Modality', n), pg_temp.one('BodyPartExamined', n),
    pg_temp.one('Manufacturer', k), CASE WHEN n %% 50 > 0 THEN 1.25 END, c.low, 1e8,
    ARRAY[p.id, u.id, v.id, pg_temp.one('Modality', n), pg_temp.one('BodyPartExamined', n),
        pg_temp.one('PatientSex', n), pg_temp.one('PatientAge', n), pg_temp.one('StudyDate', n),
        pg_temp.one('StudyDescription', n), pg_temp.one('SeriesDescription', k),
        pg_temp.one('Manufacturer', k), pg_temp.one('Rows', k), pg_temp.one('KVP', k),
        pg_temp.one('ConvolutionKernel', k), pg_temp.one('NumberOfSeriesRelatedInstances', k)]
    || pg_temp.every('ImageType') || pg_temp.given(ARRAY['Modality', 'BodyPartExamined',
        'PatientSex', 'PatientAge', 'StudyDate', 'StudyDescription', 'SeriesDescription',
        'Manufacturer', 'Rows', 'KVP', 'ConvolutionKernel', 'NumberOfSeriesRelatedInstances',
        'ImageType', 'StudyInstanceUID', 'SeriesInstanceUID', 'PatientID'])
    || CASE WHEN n %% 50 > 0 THEN pg_temp.one('SliceThickness', n)
        || pg_temp.given(ARRAY['SliceThickness']) END
    || CASE WHEN k %% 3 = 1 THEN pg_temp.every('ContrastBolusAgent')
        || pg_temp.given(ARRAY['ContrastBolusAgent']) END
    || CASE WHEN n %% 20 = 0 THEN pg_temp.every('ModalitiesInStudy') END
FROM generate_series(0, 3 * %(studies)s - 1) k CROSS JOIN LATERAL (SELECT k / 3 AS n) l
JOIN pacsgrid.study s ON s.study_uid = '2.25.' || n JOIN pacsgrid.cohort_study y USING (ref)
JOIN pacsgrid.cohort_term u ON u.attribute = 'SeriesInstanceUID' AND u.text = '2.26.' || k
JOIN pacsgrid.cohort_term v ON v.attribute = 'StudyInstanceUID' AND v.text = s.study_uid
JOIN pacsgrid.cohort_term p ON p.attribute = 'pacsgrid.project'
JOIN pacsgrid.cohort_term c ON c.id = pg_temp.one('NumberOfSeriesRelatedInstances', k);
"""
_FUNCTIONS = """
CREATE TEMPORARY TABLE drawn AS
    SELECT attribute, array_agg(id ORDER BY id) FILTER (WHERE text <> '') AS ids,
    max(id) FILTER (WHERE text = '') AS given FROM pacsgrid.cohort_term GROUP BY 1;
CREATE FUNCTION pg_temp.draw(n integer, salt integer) RETURNS integer LANGUAGE sql IMMUTABLE AS
    $$ SELECT hashint4(n + 7919 * salt) & 2147483647 $$;
CREATE FUNCTION pg_temp.every(name text) RETURNS integer[] LANGUAGE sql STABLE AS
    $$ SELECT ids FROM drawn WHERE attribute = name $$;
CREATE FUNCTION pg_temp.one(name text, n integer) RETURNS integer LANGUAGE sql STABLE AS
    $$ SELECT ids[1 + pg_temp.draw(n, length(name)) % cardinality(ids)] FROM drawn
        WHERE attribute = name $$;
CREATE FUNCTION pg_temp.given(names text[]) RETURNS integer[] LANGUAGE sql STABLE AS
    $$ SELECT array_agg(given) FROM drawn WHERE attribute = ANY(names) $$;
"""


def fill(ledger: Ledger, studies: int) -> None:
    """Enter studies of three series; the rows are made by PostgreSQL itself."""
    rows: list[tuple[object, ...]] = [("pacsgrid.project", "lung", "lung", None, None)]
    rows += [("PatientID", "", "any", None, None), ("StudyInstanceUID", "", "any", None, None)]
    rows += [("SeriesInstanceUID", "", "any", None, None)]
    for name, values in _VALUES.items():
        rows.append((name, "", "any", None, None))
        for value in dict.fromkeys(values):
            text = str(value).casefold()
            number = value if isinstance(value, float) else None
            rows.append((name, text, str(value), number, number))
    with ledger.database.transaction() as cursor:
        execute_values(
            cursor,
            "INSERT INTO pacsgrid.cohort_term (attribute, text, label, low, high) VALUES %s",
            rows,
        )
        cursor.execute(_FUNCTIONS)
        cursor.execute(_UIDS, {"studies": studies})
        cursor.execute(_ROWS, {"studies": studies})
    with ledger.database.transaction() as cursor:
        cursor.execute("ANALYZE")


class Backend:
    """The server process that answers a ledger's queries."""

    def __init__(self, ledger: Ledger) -> None:
        # One process does all the work of a query.
        ledger.database.run("SET max_parallel_workers_per_gather = 0")
        ((pid,),) = ledger.database.all("SELECT pg_backend_pid()")
        self._stat = Path(f"/proc/{pid}/stat")

    def _used(self) -> float:
        fields = self._stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def seconds(self, work: Callable[[], object], times: int = 3) -> float:
        """Return the CPU seconds that a query takes, after a first time."""
        work()
        before = self._used()
        for _ in range(times):
            work()
        return (self._used() - before) / times


def measure(ledger: Ledger) -> list[tuple[float, ...]]:
    """Print the seconds of each query, and return them."""
    backend, index, found = Backend(ledger), ledger.cohorts, []
    print("studies  series  count  plots   page   gate  (CPU seconds)")
    for text in QUERIES:
        cohort = Selection("lung", parse(text))
        counts = index.count(cohort)
        times = (
            backend.seconds(partial(index.count, cohort)),
            backend.seconds(partial(index.distributions, cohort)),
            backend.seconds(partial(index.page, cohort, limit=20)),
            backend.seconds(partial(index.cells, cohort, GATE, 10, 5)),
        )
        shown = "  ".join(f"{seconds:.3f}" for seconds in times)
        print(f"{counts.studies:7}  {counts.series:6}  {shown}  {text}", flush=True)
        found.append(times)
    return found


def main() -> int:
    """Print the seconds and how they grow; returns 1 if a query takes longer than it may."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=100_000)
    given = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "pg") as server:
        for studies in (given.studies // 10, given.studies):
            server.create_database(f"bench{studies}")
            ledger = Ledger(server.dsn(f"bench{studies}"))
            fill(ledger, studies)
            print(f"\n{studies} studies")
            found.append(measure(ledger))
        print(f"\nseconds of all at {given.studies // 10} and {given.studies} studies")
        for text, few, many in zip(QUERIES, *found, strict=True):
            print(f"{sum(few):7.3f}  {sum(many):7.3f}  {text}")
        print(ledger.cohorts.explain(Selection("lung", parse(QUERIES[0]))))
    return int(max(seconds for times in found[1] for seconds in times) > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
