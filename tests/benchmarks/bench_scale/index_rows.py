"""Fill a gateway's index with made-up studies, as a refresh would."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pacsgrid.gateway.index import Index
from pacsgrid.gateway.terms import rows_of

PROJECT = "demo"
BODY = ("CHEST", "HEAD", "ABDOMEN", "BREAST", "KNEE", "SPINE", "PELVIS", "HAND", "SHOULDER", "FOOT")
# Shares of modalities and numbers of series much as in the index of Imaging Data Commons.
MODALITIES = ("CT", "MR", "CR", "DX", "US", "MG", "PT", "SM", "RTSTRUCT", "SEG")
_SHARES = (34, 26, 10, 9, 7, 5, 3, 3, 2, 1)
_SERIES = (1, 1, 2, 2, 2, 3, 3, 4, 5, 6)
_INSTANCES = 10


def _value(vr: str, value: object) -> dict[str, Any]:
    return {"vr": vr, "Value": [{"Alphabetic": value} if vr == "PN" else value]}


def _study(number: int, rng: random.Random) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    modality = rng.choices(MODALITIES, _SHARES)[0]
    body = rng.choice(BODY)
    day = f"{2005 + number % 20}{1 + number // 20 % 12:02d}{1 + number // 240 % 28:02d}"
    study = {
        "00080020": _value("DA", day),
        "00080030": _value("TM", f"{rng.randrange(24):02d}{rng.randrange(60):02d}00"),
        "00080050": _value("SH", f"A{number:09d}"),
        "00081030": _value("LO", f"{modality} {body} {rng.choice(('native', 'contrast'))}"),
        "00100010": _value("PN", f"P{number // 2:09d}"),
        "00100020": _value("LO", f"P{number // 2:09d}"),
        "00100040": _value("CS", rng.choice("MF")),
        "00101010": _value("AS", f"{rng.randrange(100):03d}Y"),
        "00120062": _value("CS", "YES"),
    }
    series = []
    for n in range(rng.choice(_SERIES)):
        kind = rng.choice(("axial", "sagittal", "thin", "scout"))
        series.append(
            {
                "00080060": _value("CS", modality if n < 4 else "SR"),
                "00080070": _value("LO", rng.choice(("Maker A", "Maker B", "Maker C"))),
                "0008103E": _value("LO", f"{body} {kind}"),
                "00180015": _value("CS", body),
                "00181030": _value("LO", f"{body} routine"),
                "00200011": _value("IS", n + 1),
                "00185100": _value("CS", rng.choice(("HFS", "FFS"))),
            }
        )
    return study, series


def fill(path: Path, studies: int) -> Index:
    """Make an index of some studies of ten instances each.

    Parameters
    ----------
    path
        The index's file.
    studies
        How many studies.

    Returns
    -------
    Index
        The index, marked as complete.
    """
    index = Index(path)
    bit = index.zone_bit("brno")
    rng = random.Random(20)
    with index._connected() as db:
        db.execute("PRAGMA synchronous = OFF")
        db.execute("PRAGMA cache_size = -400000")
        db.execute("BEGIN")
        terms: set[tuple[str, str, str, int]] = set()
        postings: list[tuple[int, int]] = []
        series_id = 0
        for number in range(1, studies + 1):
            uid = f"2.25.{number}{'7' * 30}"
            study, series = _study(number, rng)
            patient = study["00100020"]["Value"][0]
            db.execute(
                "INSERT INTO study VALUES (?, ?, ?, ?, ?, ?, 1)",
                (number, PROJECT, patient, uid, patient, study["00080020"]["Value"][0]),
            )
            db.execute("INSERT INTO study_text VALUES (?, ?)", (number, json.dumps(study)))
            db.execute("INSERT INTO copy VALUES (?, ?, ?, ?)", (bit, number, "sha2:x", "{}"))
            counts = [_INSTANCES // len(series)] * len(series)
            counts[0] += _INSTANCES - sum(counts)
            for n, (own, count) in enumerate(zip(series, counts, strict=True)):
                series_id += 1
                place = f"{PROJECT}/data/{patient}/{uid}/{uid}.{n}"
                db.execute(
                    "INSERT INTO series VALUES (?, ?, ?, ?, ?)",
                    (series_id, number, f"{uid}.{n}", place, json.dumps(own)),
                )
                db.execute(
                    "INSERT INTO tally VALUES (?, ?, ?, ?)", (series_id, bit, "1.2.840", count)
                )
                db.executemany(
                    "INSERT INTO instance (series, uid, sha256, size, zones, attributes)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    _instances(series_id, f"{uid}.{n}", count, bit),
                )
            rows = {row for own in (study, *series) for row in rows_of(own)}
            terms |= rows
            postings += [(row[3], number) for row in rows]
            if len(postings) > 4_000_000:
                _put(db, terms, postings)
        _put(db, terms, postings)
        db.execute("COMMIT")
        db.execute("ANALYZE")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    index.mark_complete()
    return index


def _put(db: Any, terms: set[Any], postings: list[tuple[int, int]]) -> None:
    db.executemany("INSERT OR IGNORE INTO term VALUES (?, ?, ?, ?)", sorted(terms))
    db.executemany("INSERT OR IGNORE INTO posting VALUES (?, ?)", sorted(postings))
    terms.clear()
    postings.clear()


def _instances(series: int, uid: str, count: int, bit: int) -> Iterator[tuple[object, ...]]:
    for n in range(count):
        sop = f"{uid}.{n}"
        attributes = {"00080016": _value("UI", "1.2.840"), "00200013": _value("IS", n + 1)}
        sha256 = hashlib.sha256(sop.encode()).hexdigest()
        yield series, sop, sha256, 524288, bit, json.dumps(attributes)
