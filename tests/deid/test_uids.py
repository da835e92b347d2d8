"""UIDs of a data set: which are replaced, which stay, and that references stay inside."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import UID_dictionary

from pacsgrid.deid import Profile, check_file, load_profile
from pacsgrid.deid.check.uids import is_standard, is_valid
from pacsgrid.deid.folder import FolderRun, list_files
from pacsgrid.deid.vocabulary import STANDARD_UIDS
from pacsgrid.errors import HeldError
from pacsgrid.log_suppression import pydicom_suppressed
from pacsgrid.uids import is_uid
from support.deid_file import PSEUDONYMS, checked
from support.dicom import ct, save

PROFILES = ["basic", "research", "strict"]
CORE = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"]
BASE = "1.2.840.10008."
HOSTILE = [
    BASE + "/../../../PWN", BASE + "../../PWN", "../PWN", "/tmp/PWN", "..", ".", "1.2.3/../../PWN",
    "Kvapilova.Zdenka.7654321", "Kvapilova^Zdenka", "1.2..3", "1.2.3.", "7654321", "1.2.3\\1.2.4",
    BASE + "19750312.7562031234", BASE + "20240102.Kvapilova",
]  # fmt: skip


@pytest.fixture
def retaining(tmp_path: Path) -> Profile:
    path = tmp_path / "keep.yaml"
    path.write_text("name: keep\noptions: [uids, modified, descriptors]\n")
    return load_profile(str(path))


def hostile(path: Path, keyword: str, value: str) -> Path:
    ds = dcmread(ct(path, "1.2.3", "1.2.3.4", "Kvapilova^Zdenka", patient_id="756203/1234"))
    ds.FrameOfReferenceUID = ds.InstanceCreatorUID = "1.2.3.9"
    with pydicom_suppressed():
        setattr(ds, keyword, value)
        return save(ds, path)


def through(tmp_path: Path, profile: Profile, path: Path) -> tuple[list[Path], dict[str, int]]:
    """Results of a run over a folder; nothing may stand outside of its two folders."""
    out, quarantine = tmp_path / "a" / "b" / "out", tmp_path / "a" / "b" / "held"
    before = set(tmp_path.rglob("*"))
    summary = FolderRun(PSEUDONYMS, profile, out, quarantine, 1).run(list_files([path]))
    new = [p for p in tmp_path.rglob("*") if p not in before and p.is_file()]
    assert all(p.is_relative_to(out) or p.is_relative_to(quarantine) for p in new)
    assert summary.finished == 1
    return sorted(out.rglob("*.dcm")), dict(summary.held)


@pytest.mark.parametrize("name", [*PROFILES, "retaining"])
@pytest.mark.parametrize("value", HOSTILE)
def test_no_uid_leads_out_of_the_results(
    tmp_path: Path, name: str, value: str, retaining: Profile
) -> None:
    profile = retaining if name == "retaining" else load_profile(name)
    if name == "retaining" and is_uid(value):
        return  # whatever its digits say, the profile wants it kept
    for keyword in (*CORE, "FrameOfReferenceUID", "InstanceCreatorUID"):
        room = tmp_path / keyword
        made, held = through(room, profile, hostile(room / "in" / "a.dcm", keyword, value))
        assert len(made) + sum(held.values()) == 1
        for path in made:
            assert all(is_uid(part) for part in (*path.parent.parts[-2:], path.stem))
            data = path.read_bytes()
            assert b"PWN" not in data and b"Kvapilova" not in data and b"7562031234" not in data
            assert b"19750312" not in data and b"20240102" not in data


@pytest.mark.parametrize("value", ["1.2.3.77", "1.2.3.007", "2.25.12345678901234567890"])
def test_a_retained_uid_is_kept_when_it_is_one(
    tmp_path: Path, value: str, retaining: Profile
) -> None:
    for keyword in (*CORE, "FrameOfReferenceUID"):
        ds = dcmread(checked(hostile(tmp_path / f"{keyword}.dcm", keyword, value), retaining).path)
        assert ds[keyword].value == value


def test_the_checker_refuses_a_name_among_retained_uids(tmp_path: Path, retaining: Profile) -> None:
    path = hostile(tmp_path / "in.dcm", "FrameOfReferenceUID", "1.2.3.9")
    made = checked(path, retaining).path
    for value in ("Zdenka", "1.2..3", "1.2.3/../x"):
        with pydicom_suppressed():
            ds = dcmread(made)
            ds.FrameOfReferenceUID = value
            ds.save_as(made)
        with pytest.raises(HeldError, match=r"identity-left: \(0020,0052\)"):
            check_file(path, made, retaining)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    "suffix", ["5.1.4.1.1.2.19750312", "19750312", "5.1.4.1.1.2.1.1", "20240102.101500", "999"]
)
def test_only_the_listed_uids_are_the_standards_own(
    tmp_path: Path, profile: str, suffix: str
) -> None:
    uid = BASE + suffix
    for keyword in (*CORE, "FrameOfReferenceUID", "InstanceCreatorUID"):
        path = hostile(tmp_path / f"{keyword}.dcm", keyword, uid)
        made = checked(path, load_profile(profile))
        ds = dcmread(made.path)
        assert ds[keyword].value == PSEUDONYMS.uid(uid)
        assert uid.encode() not in made.path.read_bytes()


def test_the_checker_takes_no_prefix_for_the_standards_own(tmp_path: Path) -> None:
    uid = BASE + "20240102.101500"
    path = hostile(tmp_path / "in.dcm", "FrameOfReferenceUID", uid)
    made = checked(path, load_profile("research")).path
    ds = dcmread(made)
    ds.FrameOfReferenceUID = uid
    ds.save_as(made)
    with pytest.raises(HeldError, match="identity-left"):
        check_file(path, made, load_profile("research"))


def test_well_known_uids_stay(tmp_path: Path) -> None:
    path = hostile(tmp_path / "in.dcm", "FrameOfReferenceUID", BASE + "1.4.1.1")
    assert (
        dcmread(checked(path, load_profile("basic")).path).FrameOfReferenceUID == BASE + "1.4.1.1"
    )


def test_both_know_the_same_uids() -> None:
    """Anonymiser and checker have a list each; neither has what the other lacks."""
    assert [uid for uid in STANDARD_UIDS if not is_standard(uid.encode())] == []
    assert set(UID_dictionary) <= STANDARD_UIDS
    assert not is_standard(b"1.2.840.10008.5.1.4.1.1.2.9") and not is_standard(b"1.2.840.10008.")
    for text in [*HOSTILE, "1.2", "1.2.003", "", "3.4", "1.²", "1.2\0"]:
        assert is_valid(text.encode()) == is_uid(text)


@pytest.mark.parametrize(
    "syntax", ["1.2.840.10008.1.2.5/../x", "1.2.840.10008.1.2.4.90 Novak", "1.2.840.10008.1.2.5.1"]
)
def test_a_transfer_syntax_is_a_listed_one(tmp_path: Path, syntax: str) -> None:
    path = ct(tmp_path / "in.dcm", "1.2.3", "1.2.3.4")
    value = syntax.encode() + b"\0" * (len(syntax) % 2)
    data = path.read_bytes()
    at = data.index(b"\x02\x00\x10\x00UI")
    end = at + 8 + int.from_bytes(data[at + 6 : at + 8], "little")
    data = data[: at + 6] + len(value).to_bytes(2, "little") + value + data[end:]
    # The group's length says nothing that a reader needs.
    path.write_bytes(data)
    with pytest.raises(HeldError) as held:
        checked(path, load_profile("basic"))
    assert "Novak" not in str(held.value)


def test_a_retained_uid_is_not_made_of_a_birth_date_or_identifier(tmp_path: Path) -> None:
    keeping = load_profile("research").replace(options=load_profile("research").options | {"uids"})
    ds = dcmread(ct(tmp_path / "a.dcm", "1.2.3", "1.2.826.0.1.19750312.1"))
    ds.FrameOfReferenceUID = "1.2.840.10008.7562031234"
    ds.SynchronizationFrameOfReferenceUID = "1.2.826.0.1.20240102.5"
    ds.SeriesDescription = "of 1.2.840.10008.7562031234"
    made = dcmread(checked(save(ds, tmp_path / "a.dcm"), keeping).path)
    assert made.StudyInstanceUID == "1.2.3"
    assert made.SynchronizationFrameOfReferenceUID == "1.2.826.0.1.20240102.5"
    assert made.SOPInstanceUID.startswith("2.25.")
    assert made.FrameOfReferenceUID.startswith("2.25.")
    assert "7562031234" not in made.SeriesDescription
