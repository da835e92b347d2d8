"""Doubtful values are removed, required attributes stay valid, profiles are followed."""

from __future__ import annotations

import io
import sys
import tracemalloc
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from pacsgrid.cli import main
from pacsgrid.deid import (
    Pseudonyms,
    anonymise_file,
    check_file,
    collect_identifiers,
    load_profile,
)
from pacsgrid.deid.attribute_types import attribute_type
from pacsgrid.errors import ConfigError, HeldError
from support.deid_file import PSEUDONYMS, checked
from support.dicom import ct, save


def run(path: Path, name: str = "basic") -> Dataset:
    return dcmread(checked(path, load_profile(name)).path)


@pytest.mark.parametrize("name", ["basic", "research", "strict"])
@pytest.mark.parametrize(
    ("vr", "value"),
    [
        ("PN", b"Smith^J "), ("LO", b"ward"), ("SH", b"ward"), ("ST", b"ward"), ("LT", b"ward"),
        ("UT", b"ward"), ("UC", b"ward"), ("UR", b"ward"), ("AE", b"WARD"), ("DA", b"20240102"),
        ("DT", b"20240102"), ("TM", b"1015"), ("AS", b"042Y"), ("UI", b"1.2.3.88"), ("UN", b"ward"),
    ],
)  # fmt: skip
def test_attributes_of_later_editions_go(tmp_path: Path, name: str, vr: str, value: bytes) -> None:
    """(0018,AE98) is in no dictionary yet; an item has it as well."""
    tag, item = Tag(0x0018AE98), Dataset()
    ds = dcmread(ct(tmp_path / "a", "1.2.3", "1.2.3.1"))
    for place in (ds, item):
        raw = RawDataElement(tag, vr, len(value), value, 0, False, True)
        place._dict[tag] = raw  # type: ignore[index]
    ds.ReferencedImageSequence = [item]
    made = run(save(ds, tmp_path / "a"), name)
    assert tag not in made and tag not in made.ReferencedImageSequence[0]


@pytest.mark.parametrize("group", [0x5000, 0x500A, 0x501E, 0x6000, 0x6004, 0x601E])
def test_curves_and_overlays_of_every_group_go(tmp_path: Path, group: int) -> None:
    ds = dcmread(ct(tmp_path / "a", "1.2.3", "1.2.3.1"))
    ds.add_new(group << 16 | 0x0022, "LO", "Jana")
    ds.add_new(group << 16 | 0x3000, "OW", bytes(128))
    ds.add_new(group << 16 | 0x4000, "LT", "Jana")
    made = run(save(ds, tmp_path / "a"))
    assert not [tag for tag in list(made._dict) if tag >> 16 == group]


@pytest.mark.parametrize(
    ("sop_class", "kind", "left"),
    [
        ("1.2.840.10008.5.1.4.1.1.2", "3", None),  # CT Image
        ("1.2.840.10008.5.1.4.1.1.2.1", "1", "19000101"),  # Enhanced CT Image
    ],
)
def test_of_x_z_and_d_the_one_that_leaves_the_object_valid(
    tmp_path: Path, sop_class: str, kind: str, left: str | None
) -> None:
    assert attribute_type(0x0008002A, sop_class, "") == kind
    ds = dcmread(ct(tmp_path / "a", "1.2.3", "1.2.3.1"))
    ds.SOPClassUID, ds.AcquisitionDateTime = sop_class, "20240102101500"
    assert run(save(ds, tmp_path / "a")).get("AcquisitionDateTime") == left


PROFILE = """
name: own
version: "3"
options: [patient, modified]
overrides:
  - {tag: ProtocolName, action: K, reason: read by the steward}
  - {tag: "00181030", action: K, reason: by its number}
held_modalities: [MG]
"""


def test_a_profile_s_hash_is_that_of_what_it_means(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"

    def hashed(text: str) -> str:
        path.write_text(text)
        return load_profile(str(path)).hash

    first = hashed(PROFILE)
    assert hashed("# a remark\n" + PROFILE) == first
    changes = {"patient, ": "", '"3"': '"4"', "[MG]": "[MG, XA]", "action: K": "action: C"}
    for old, new in changes.items():
        assert hashed(PROFILE.replace(old, new)) != first


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (", reason: by its number", "", "override"),
        ("action: K", "action: Q", "override"),
        ("ProtocolName", "ProtocolNaem", "ProtocolNaem"),
        ("patient, modified", "full, modified", "exclude each other"),
        ("held_modalities", "held_modality", "held_modality"),
        ("name: own", "nom: own", "name"),
        ('version: "3"', 'version: "3"\nbins: {PatientHeight: 3}', "bins"),
        ('version: "3"', 'version: "3"\nsafe_private: [{creator: A, group: "9"}]', "safe_private"),
        ('version: "3"', 'version: "3"\npixels: {look: sometimes}', "look"),
    ],
)
def test_a_slip_in_a_profile_is_named(tmp_path: Path, old: str, new: str, told: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(PROFILE.replace(old, new))
    with pytest.raises(ConfigError, match=told):
        load_profile(str(path))


def test_a_modality_that_a_profile_names_is_held(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(PROFILE)
    ds = dcmread(ct(tmp_path / "a", "1.2.3", "1.2.3.1"))
    ds.Modality, ds.ProtocolName = "MG", "MLO left"
    with pytest.raises(HeldError, match="modality-held"):
        run(save(ds, tmp_path / "a"), str(tmp_path / "p.yaml"))
    ds.Modality = "DX"
    made = run(save(ds, tmp_path / "a"), str(tmp_path / "p.yaml"))
    assert made.ProtocolName == "MLO left"


def test_what_a_file_takes_of_memory_does_not_grow_with_its_pixels(tmp_path: Path) -> None:
    ds = dcmread(ct(tmp_path / "a", "1.2.3", "1.2.3.1"))
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.Rows = ds.Columns = 1024
    ds.NumberOfFrames = 32
    ds.PixelData = bytes(64 << 20)
    save(ds, tmp_path / "a")
    del ds
    profile = load_profile("research")
    anonymise_file(ct(tmp_path / "warm", "1.2.4", "1.2.4.1"), tmp_path, PSEUDONYMS, profile,
                   collect_identifiers([]))  # fmt: skip
    tracemalloc.start()
    try:
        path = tmp_path / "a"
        made = anonymise_file(path, tmp_path, PSEUDONYMS, profile, collect_identifiers([path]))
        check_file(path, made.path, profile)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


class Terminal(io.StringIO):
    """What a terminal was told."""

    def isatty(self) -> bool:
        return True


def test_progress_is_shown_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        ct(tmp_path / "in" / f"{number}", "1.2.3", f"1.2.3.{number}")
    (tmp_path / "key").write_bytes(b"k" * 32)
    told = Terminal()
    monkeypatch.setattr(sys, "stderr", told)
    given = ["--key-file", str(tmp_path / "key"), "--project", "demo"]
    assert main(["deid", str(tmp_path / "in"), str(tmp_path / "out"), *given]) == 0
    last = told.getvalue().strip().split("\r")[-1]
    assert last.startswith("3 of 3 files, 0 held")


@pytest.mark.parametrize("keep", [[], ["uids"]])
def test_separate_runs_at_separate_sites_agree(tmp_path: Path, keep: list[str]) -> None:
    """A later study's reference leads to the earlier one's object, which another site made."""
    (tmp_path / "p.yaml").write_text(f"name: own\noptions: {keep}\npixels: {{look: none}}\n")
    profile = load_profile(str(tmp_path / "p.yaml"))
    first = ct(tmp_path / "a", "1.2.3", "1.2.3.1")
    ds, item = dcmread(ct(tmp_path / "b", "1.2.9", "1.2.9.1")), Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = ds.SOPClassUID, "1.2.3.1"
    ds.SourceImageSequence = [item]
    second = save(ds, tmp_path / "b")
    made = []
    for path in (first, second):
        site = Pseudonyms(b"k" * 32, "demo")
        made.append(
            anonymise_file(path, tmp_path / "out", site, profile, collect_identifiers([path]))
        )
        check_file(path, made[-1].path, profile)
    later = dcmread(made[1].path)
    assert later.SourceImageSequence[0].ReferencedSOPInstanceUID == made[0].sop_uid
    assert made[0].subject == made[1].subject == later.PatientID
    assert (made[0].sop_uid == "1.2.3.1") == bool(keep)
