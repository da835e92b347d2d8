"""The cohort index at the size of a hospital: times of what the page asks for, and the plan.

Fills a ledger with studies of three series, and fails when PostgreSQL reads every series for a
query that few match.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from psycopg2.extras import execute_values

from pacsgrid.cohort_query import parse
from pacsgrid.embedded.postgres import EmbeddedPostgres
from pacsgrid.ledger import Ledger
from pacsgrid.ledger.cohort_index import Selection
from pacsgrid.pipeline.cohort_entries import study_entry
from pacsgrid.pipeline.manifest import Manifest, ManifestEntry

QUERIES = (
    "Modality = CT and BodyPartExamined = CHEST and SliceThickness <= 1.5 and PatientAge = 60..70"
    " and not has ContrastBolusAgent",
    "Modality = CT",
    "StudyDescription ~ 'low dose' and has SEG",
    "Manufacturer = 'Maker 3' or (StudyDate >= 2023 and PatientSex = F)",
    "not has SliceThickness",
    "zone = praha and Modality = MR and NumberOfSlices > 2",
)
GATE = ("age", "sex", "body_part", "study_month")
PARTS = ("CHEST", "HEAD", "ABDOMEN", "PELVIS", "SPINE", "KNEE")
WORDS = ("low dose", "routine", "follow-up", "trauma", "staging", "angiography")


def manifest(number: int, drawn: random.Random) -> Manifest:
    """Make the manifest of a study of three series; one has a contrast agent."""
    study, subject = f"2.25.{number}", f"S{number // 2}"
    part, modality = drawn.choice(PARTS), drawn.choice(("CT", "CT", "MR", "DX"))
    thickness = drawn.choice((0.75, 1.0, 1.25, 1.5, 3.0, 5.0))
    shared = {
        "00100040": {"vr": "CS", "Value": [drawn.choice("MF")]},
        "00101010": {"vr": "AS", "Value": [f"{drawn.randrange(18, 90):03d}Y"]},
        "00080020": {
            "vr": "DA",
            "Value": [f"20{drawn.randrange(15, 25)}{drawn.randrange(1, 13):02d}11"],
        },
        "00081030": {"vr": "LO", "Value": [f"{modality} {part} {drawn.choice(WORDS)}"]},
    }
    series, instances = {}, []
    for place in range(3):
        uid = f"{study}.{place}"
        kind = "SEG" if place == 2 and drawn.random() < 0.05 else modality
        series[uid] = {
            "00080060": {"vr": "CS", "Value": [kind]},
            "00180015": {"vr": "CS", "Value": [part]},
            "00080070": {"vr": "LO", "Value": [f"Maker {drawn.randrange(8)}"]},
            "0008103E": {"vr": "LO", "Value": [f"series {drawn.randrange(500)}"]},
        }
        own = {
            "00180050": {"vr": "DS", "Value": [thickness]},
            "00280010": {"vr": "US", "Value": [512]},
            "00080008": {"vr": "CS", "Value": ["ORIGINAL", "PRIMARY", "AXIAL"]},
        }
        if place == 1:
            own["00180010"] = {"vr": "LO", "Value": ["agent"]}
        if kind == "SEG":
            own = {}
        instances += [
            ManifestEntry(uid, f"{uid}.{n}", "ab" * 32, 500_000, own)
            for n in range(drawn.randrange(1, 5))
        ]
    return Manifest("lung", subject, study, "basic", "h", None, shared, series, tuple(instances))


def fill(ledger: Ledger, studies: int) -> float:
    """Enter the studies, and return how many the index took a second."""
    drawn, spent = random.Random(7), 0.0
    for start in range(0, studies, 1000):
        made = [manifest(number, drawn) for number in range(start, min(start + 1000, studies))]
        refs = [f"st-{int(one.study[5:]):020x}" for one in made]
        with ledger.database.transaction() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")
            execute_values(
                cursor,
                "INSERT INTO pacsgrid.study (ref, project, source, profile_hash, state, subject,"
                " study_uid) VALUES %s",
                [
                    (ref, "lung", "drop", "h", "verified", one.subject, one.study)
                    for ref, one in zip(refs, made, strict=True)
                ],
            )
            execute_values(
                cursor,
                "INSERT INTO pacsgrid.coverage (ref, zone, project, deposited, least, bad, oldest)"
                " VALUES %s",
                [
                    (ref, zone, "lung", True, 1, 0, "now")
                    for ref in refs
                    for zone in ("brno", "praha")
                ],
            )
        entries = [study_entry(ref, one) for ref, one in zip(refs, made, strict=True)]
        began = time.perf_counter()
        ledger.cohorts.put(entries)
        spent += time.perf_counter() - began
    with ledger.database.transaction() as cursor:
        cursor.execute("ANALYZE")
    return studies / spent


def best(work: Callable[[], object], times: int = 3) -> float:
    """Return the shortest of some times, in seconds."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)


def main() -> int:
    """Print the times; returns 1 if a query reads every series."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=100_000)
    given = parser.parse_args()
    status = 0
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "pg") as server:
        server.create_database("bench")
        ledger = Ledger(server.dsn("bench"))
        print(f"{given.studies} studies; index takes {fill(ledger, given.studies):.0f} studies/s")
        print("studies  series  count  plots  page  gate (seconds)")
        index = ledger.cohorts
        for text in QUERIES:
            cohort = Selection("lung", parse(text))
            counts = index.count(cohort)
            times = (
                best(partial(index.count, cohort)),
                best(partial(index.distributions, cohort)),
                best(partial(index.page, cohort, limit=20)),
                best(partial(index.cells, cohort, GATE, 10, 5)),
            )
            shown = "  ".join(f"{seconds:.3f}" for seconds in times)
            print(f"{counts.studies:7}  {counts.series:6}  {shown}  {text}", flush=True)
            plan = index.explain(cohort)
            if "Seq Scan on cohort_series" in plan and counts.series < given.studies / 5:
                print(f"reads every series:\n{plan}")
                status = 1
        print(ledger.cohorts.explain(Selection("lung", parse(QUERIES[0]))))
    return status


if __name__ == "__main__":
    sys.exit(main())
