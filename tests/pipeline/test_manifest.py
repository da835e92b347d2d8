"""The manifest keeps what queries ask for, in every version of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from pacsgrid.errors import ZoneError
from pacsgrid.ledger import InstanceRecord
from pacsgrid.pipeline.attributes import read_attributes
from pacsgrid.pipeline.manifest import Manifest
from support.dicom import ct


def test_attributes_survive_in_few_bytes(tmp_path: Path) -> None:
    paths = [ct(tmp_path / f"{n}.dcm", "1.2", f"1.2.9.{n}") for n in range(40)]
    rows, known = [], {}
    for path in paths:
        ds = dcmread(path)
        sop = str(ds.SOPInstanceUID)
        known[sop] = read_attributes(path)
        rows.append(InstanceRecord("1.2", str(ds.SeriesInstanceUID), sop, "S1", "CT", "00", 7))
    made = Manifest.build(rows, known, "demo", "basic", "h", None)
    read = Manifest.parse(made.dump())
    assert read == made
    assert {one.sop: read.attributes(one) for one in read.instances} == known
    own = read.instances[0].own
    assert set(own) >= {"00080016", "00080018", "00200013", "00083002"}
    assert "0020000D" in read.shared and "00080060" in read.series["1.2.1"]
    again = Manifest.build(
        rows, {one.sop: read.attributes(one) for one in read.instances}, "demo", "basic", "h", None
    )
    assert again.dump() == made.dump()


def test_an_older_manifest_is_read_and_anything_else_refused() -> None:
    old = {
        "project": "demo",
        "subject": "S1",
        "study": "1.2",
        "profile": "basic",
        "profile_hash": "h",
        "report": {"name": "deidentification.json", "sha256": None},
        "instances": [{"series": "1.2.1", "sop": "1.2.1.1", "sha256": "00", "size": 7}],
    }
    (one,) = Manifest.parse(json.dumps(old).encode()).instances
    assert (one.sop, one.own) == ("1.2.1.1", {})
    for text in (b"", b"[]", b"{}", b'{"instances": 3}', json.dumps(old).encode()[:-9]):
        with pytest.raises(ZoneError):
            Manifest.parse(text)


def test_other_character_sets_and_bad_values_are_no_obstacle(tmp_path: Path) -> None:
    found = read_attributes(Path(str(get_testdata_file("reportsi.dcm"))))
    assert found["00080060"]["Value"] == ["SR"]
    path = ct(tmp_path / "a.dcm", "1.2", "1.2.3")
    path.write_bytes(path.read_bytes().replace(b"IS\x02\x001 ", b"IS\x02\x00x "))
    found = read_attributes(path)
    assert found["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Nováková^Žofie"}]}
    assert "00200013" not in found and found["00280010"]["Value"] == [32]
