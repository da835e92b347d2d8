"""UIDs that the project issued stay as they are; no other UID does, whatever it looks like."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from copy import deepcopy
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread, dcmwrite

from pacsgrid.deid import Pseudonyms, load_profile
from pacsgrid.deid.check import verified_uids
from pacsgrid.deid.processing import ProcessedFiles, StudyProcessor
from support import results
from support.deid_file import PSEUDONYMS

STUDY = "1.2.826.0.77"


class Register:
    """Holds seals, by whomever they were made."""

    def __init__(self, uids: Collection[str], by: Pseudonyms = PSEUDONYMS) -> None:
        self.known = {uid: by.seal(uid) for uid in uids}

    def seals(self, uids: Collection[str]) -> Mapping[str, bytes]:
        return {uid: self.known[uid] for uid in uids if uid in self.known}


def go(
    files: Collection[Path], out: Path, register: Register | None, profile: str = "research"
) -> ProcessedFiles:
    with StudyProcessor(PSEUDONYMS, load_profile(profile), 1, register=register) as processor:
        return processor.process_study(list(files), out)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Dataset]:
    """The grid's images of a study."""
    folder = tmp_path_factory.mktemp("images")
    done = go(results.volume(folder / "in", STUDY), folder / "out", None)
    return [dcmread(one.path) for one in done.made]


def made_by_hospital(images: list[Dataset], kind: str, **given: str) -> Dataset:
    """An object that hospital software made of the grid's images and filed under the patient."""
    ds = results.ALL[kind](deepcopy(images))
    ds.PatientID, ds.PatientName = "756203/1234", "Nováková^Žofie"
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientBirthDate = "19750312"
    ds.StudyInstanceUID = f"{STUDY}.5"
    for keyword, value in given.items():
        setattr(ds, keyword, value)
    return ds


def issued(images: list[Dataset]) -> set[str]:
    """What the register has: all UIDs of the images but those of classes."""
    return {
        str(ds[keyword].value)
        for ds in images
        for keyword in (
            "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID",
        )
    }  # fmt: skip


def uids(ds: Dataset) -> set[str]:
    return {str(element.value) for element in ds.iterall() if element.VR == "UI" and element.value}


@pytest.mark.parametrize("kind", results.ALL)
@pytest.mark.parametrize("profile", ["research", "basic"])
def test_references_to_the_grid_survive(
    images: list[Dataset], tmp_path: Path, kind: str, profile: str
) -> None:
    own = issued(images)
    ds = made_by_hospital(images, kind)
    referred = uids(ds) & own
    assert len(referred) >= 2
    dcmwrite(tmp_path / "a.dcm", ds, enforce_file_format=True)
    done = go([tmp_path / "a.dcm"], tmp_path / "out", Register(own), profile)
    assert [one.error() for one in done.held] == []
    made = dcmread(done.made[0].path)
    # What it refers to is still what the grid has; what is its own has pseudonyms as ever.
    assert uids(made) & own == referred
    assert made.StudyInstanceUID == PSEUDONYMS.uid(f"{STUDY}.5")
    assert made.SOPInstanceUID == PSEUDONYMS.uid(str(ds.SOPInstanceUID))
    # Without a register, the references would be lost.
    lost = go([tmp_path / "a.dcm"], tmp_path / "lost", None, profile)
    assert not uids(dcmread(lost.made[0].path)) & own


def test_another_projects_seal_counts_for_nothing(images: list[Dataset], tmp_path: Path) -> None:
    ds = made_by_hospital(images, "segmentation")
    dcmwrite(tmp_path / "a.dcm", ds, enforce_file_format=True)
    other = Register(issued(images), Pseudonyms(b"k" * 32, "other"))
    # The anonymiser believes the register; the checker believes the seals alone.
    (held,) = go([tmp_path / "a.dcm"], tmp_path / "out", other).held
    assert (held.code, held.refused) == ("identity-left", True)
    seals = {uid.encode(): seal for uid, seal in other.known.items()}
    assert verified_uids(seals, PSEUDONYMS.seal_key) == set()
    assert verified_uids(seals, Pseudonyms(b"k" * 32, "other").seal_key) == seals.keys()


def test_the_checker_refuses_what_the_register_does_not_know(
    images: list[Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ds = made_by_hospital(images, "segmentation")
    dcmwrite(tmp_path / "a.dcm", ds, enforce_file_format=True)
    # As a mistake of the anonymiser would be: everything of that form is taken for its own.
    monkeypatch.setattr(Pseudonyms, "is_issued", lambda self, uid: uid.startswith("2.25."))
    (held,) = go([tmp_path / "a.dcm"], tmp_path / "out", Register([])).held
    assert (held.code, held.refused) == ("identity-left", True)


def test_the_checker_refuses_an_own_uid_that_was_replaced(
    images: list[Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dcmwrite(tmp_path / "a.dcm", made_by_hospital(images, "segmentation"), enforce_file_format=True)
    monkeypatch.setattr(Pseudonyms, "is_issued", lambda self, uid: False)
    (held,) = go([tmp_path / "a.dcm"], tmp_path / "out", Register(issued(images))).held
    assert held.code == "reference-changed"


@pytest.mark.parametrize("implicit", [False, True])
def test_an_object_of_the_grid_itself_is_held(
    images: list[Dataset], tmp_path: Path, implicit: bool
) -> None:
    image = deepcopy(images[0])
    image.PatientID, image.StudyInstanceUID = "756203/1234", f"{STUDY}.5"
    if implicit:
        image.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    image.save_as(tmp_path / "image.dcm", implicit_vr=implicit, little_endian=True)
    inside = made_by_hospital(
        images, "segmentation", SeriesInstanceUID=str(images[0].SeriesInstanceUID)
    )
    dcmwrite(tmp_path / "inside.dcm", inside, enforce_file_format=True)
    for name in ("image", "inside"):
        (held,) = go([tmp_path / f"{name}.dcm"], tmp_path / name, Register(issued(images))).held
        assert (held.code, held.refused) == ("own-pseudonym", False)
