"""The tables of a release say what the manifests say, and nothing else."""

from __future__ import annotations

import csv
import json
import weakref
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from pacsgrid.ledger import InstanceRecord
from pacsgrid.pipeline.attributes import INSTANCE, SERIES, STUDY, Json, read_attributes
from pacsgrid.pipeline.release_columns import INSTANCE_COLUMNS, SERIES_COLUMNS
from pacsgrid.pipeline.release_layout import (
    DICTIONARY,
    INSTANCES_PARQUET,
    SERIES_CSV,
    SERIES_PARQUET,
    TableFile,
)
from pacsgrid.pipeline.release_tables import Study, write_tables
from support.dicom import ct

HOME = "/brno/home/demo"


def study(subject: str, *paths: Path) -> tuple[list[InstanceRecord], dict[str, Json]]:
    rows, known = [], {}
    for number, path in enumerate(paths):
        ds = dcmread(path, stop_before_pixels=True)
        sop = str(ds.SOPInstanceUID)
        known[sop] = read_attributes(path)
        rows.append(
            InstanceRecord(
                str(ds.StudyInstanceUID),
                str(ds.SeriesInstanceUID),
                sop,
                subject,
                str(ds.Modality),
                f"{number:064x}",
                path.stat().st_size,
            )
        )
    return rows, known


@pytest.fixture
def studies(tmp_path: Path) -> list[Study]:
    slices = [ct(tmp_path / f"{n}.dcm", "1.2.1", f"1.2.1.1.{n}", fill=n) for n in range(3)]
    real = [Path(str(get_testdata_file(name))) for name in ("CT_small.dcm", "reportsi.dcm")]
    return [study("S1", *slices), *(study(f"S{n}", path) for n, path in enumerate(real, 2))]


def written(folder: Path, studies: list[Study]) -> dict[str, TableFile]:
    folder.mkdir()
    return {one.name: one for one in write_tables(folder, HOME, studies)}


def test_a_series_is_a_row_with_what_its_instances_share(
    tmp_path: Path, studies: list[Study]
) -> None:
    files = written(tmp_path / "out", studies)
    table = pq.read_table(files[SERIES_PARQUET].path)
    assert table.column_names == [one.name for one in SERIES_COLUMNS]
    rows = table.to_pylist()
    assert [(row["subject"], row["instances"]) for row in rows] == [("S1", 3), ("S2", 1), ("S3", 1)]
    first, real, report = rows
    assert first["bytes"] == sum(row.size for row in studies[0][0])
    assert first["path"] == f"data/S1/1.2.1/{first['SeriesInstanceUID']}"
    assert first["collection"] == f"{HOME}/{first['path']}"
    assert (first["Rows"], first["Columns"]) == (32, 32)
    source = dcmread(str(get_testdata_file("CT_small.dcm")))
    assert real["StudyDate"] == date(2004, 1, 19)
    assert real["SliceThickness"] == float(source.SliceThickness)
    assert real["PixelSpacing"] == [float(one) for one in source.PixelSpacing]
    assert real["ImageType"] == list(source.ImageType)
    assert real["Manufacturer"] == source.Manufacturer
    assert real["PatientAge"] == source.PatientAge
    assert report["Modality"] == "SR"
    assert json.loads(report["ConceptNameCodeSequence"])[0]["00080100"]["Value"]


def test_what_differs_within_a_series_is_empty(tmp_path: Path, studies: list[Study]) -> None:
    rows, known = studies[0]
    known = {sop: dict(own) for sop, own in known.items()}
    known[rows[1].sop_uid]["00280010"] = {"vr": "US", "Value": [64]}
    del known[rows[2].sop_uid]["00280011"]
    files = written(tmp_path / "out", [(rows, known)])
    (row,) = pq.read_table(files[SERIES_PARQUET].path).to_pylist()
    assert row["Rows"] is row["Columns"] is None and row["BitsAllocated"] == 16
    instances = pq.read_table(files[INSTANCES_PARQUET].path).to_pylist()
    assert [(one["Rows"], one["Columns"]) for one in instances] == [(32, 32), (64, 32), (32, None)]


def test_an_instance_is_a_row_with_its_file(tmp_path: Path, studies: list[Study]) -> None:
    files = written(tmp_path / "out", studies)
    table = pq.read_table(files[INSTANCES_PARQUET].path)
    assert table.column_names == [one.name for one in INSTANCE_COLUMNS]
    records = {row.sop_uid: row for rows, _ in studies for row in rows}
    for one in table.to_pylist():
        row = records.pop(one["SOPInstanceUID"])
        assert (one["sha256"], one["bytes"], one["subject"]) == (row.sha256, row.size, row.subject)
        assert one["path"] == (
            f"data/{row.subject}/{row.study_uid}/{row.series_uid}/{row.sop_uid}.dcm"
        )
    assert not records


def test_csv_and_parquet_say_the_same(tmp_path: Path, studies: list[Study]) -> None:
    files = written(tmp_path / "out", studies)
    with files[SERIES_CSV].path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    rows = pq.read_table(files[SERIES_PARQUET].path).to_pylist()
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        for name, cell in row.items():
            expected = "\\".join(map(str, cell)) if isinstance(cell, list) else cell
            assert line[name] == ("" if expected is None else str(expected))


def test_every_attribute_of_the_queries_has_a_column_that_the_dictionary_explains(
    tmp_path: Path, studies: list[Study]
) -> None:
    files = written(tmp_path / "out", studies)
    tags = {one.tag for one in SERIES_COLUMNS if one.tag}
    assert tags == (STUDY | SERIES | INSTANCE) - {"00080018", "00200013"}
    assert {one.tag for one in INSTANCE_COLUMNS if one.tag} >= INSTANCE
    with files[DICTIONARY].path.open(encoding="utf-8", newline="") as file:
        told = {(line["table"], line["column"]): line for line in csv.DictReader(file)}
    for table in (SERIES_PARQUET, INSTANCES_PARQUET):
        schema = pq.read_schema(files[table].path)
        assert [name for of, name in told if of == table] == schema.names
        for field in schema:
            assert told[table, field.name]["meaning"] == field.metadata[b"description"].decode()
    assert told[SERIES_PARQUET, "SliceThickness"]["tag"] == "(0018,0050)"


def test_values_that_break_their_rules_leave_the_cell_empty(
    tmp_path: Path, studies: list[Study]
) -> None:
    rows, known = studies[1]
    (own,) = known.values()
    bad: Json = {
        "00080020": {"vr": "DA", "Value": ["2004"]},
        "00180050": {"vr": "DS", "Value": ["thin"]},
        "00280010": {"vr": "US", "Value": [1, 2]},
        "00280030": {"vr": "DS", "Value": [None, None]},
        "00080070": {"vr": "LO", "Value": ["A", "B"]},
        "00181000": {"vr": "LO"},
    }
    files = written(tmp_path / "out", [(rows, {rows[0].sop_uid: {**own, **bad}})])
    (row,) = pq.read_table(files[SERIES_PARQUET].path).to_pylist()
    empty = ("StudyDate", "SliceThickness", "Rows", "PixelSpacing")
    assert [row[name] for name in empty] == [None] * 4
    assert row["Manufacturer"] == "A\\B"


def test_the_same_studies_make_the_same_files(tmp_path: Path, studies: list[Study]) -> None:
    first, second = (written(tmp_path / name, studies) for name in "ab")
    assert {name: one.sha256 for name, one in first.items()} == {
        name: one.sha256 for name, one in second.items()
    }


def test_studies_are_written_as_they_come(tmp_path: Path, studies: list[Study]) -> None:
    class Known(dict[str, Json]):
        """Attributes that can be watched."""

    made: list[weakref.ref[Known]] = []
    most = 0

    def come() -> Iterator[Study]:
        nonlocal most
        for number in range(50):
            rows, known = studies[0]
            named = Known(known)
            made.append(weakref.ref(named))
            yield [replace(row, subject=f"S{number}") for row in rows], named
            del named
            most = max(most, sum(one() is not None for one in made))

    (tmp_path / "out").mkdir()
    files = {one.name: one for one in write_tables(tmp_path / "out", HOME, come())}
    assert pq.read_metadata(files[INSTANCES_PARQUET].path).num_rows == 150
    assert most == 1  # the study that was written last


def test_an_instance_without_attributes_keeps_its_row(tmp_path: Path, studies: list[Study]) -> None:
    rows, _ = studies[1]
    files = written(tmp_path / "out", [(rows, {})])
    (row,) = pq.read_table(files[SERIES_PARQUET].path).to_pylist()
    assert (row["subject"], row["Modality"], row["Rows"]) == ("S2", "CT", None)
