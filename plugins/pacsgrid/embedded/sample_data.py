"""Sample studies: images of pydicom-data with invented Czech patients in their headers.

No real person is in them: names, numbers and addresses come from the short lists below.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from pathlib import Path

from pydicom import config, dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import UID

_PATIENTS = (
    ("Nováková^Žofie", "F", "7556130017", "Údolní 53, 602 00 Brno", "+420 601 111 001"),
    ("Dvořák^Jiří", "M", "6203150028", "Štefánikova 8, 612 00 Brno", "+420 601 111 002"),
    ("Šťastná^Růžena", "F", "4859220039", "Křenová 21, 602 00 Brno", "+420 601 111 003"),
    ("Černý^Ondřej", "M", "9111050040", "Nádražní 4, 671 81 Znojmo", "+420 601 111 004"),
    ("Říhová^Kateřina", "F", "8302280051", "Žižkova 17, 586 01 Jihlava", "+420 601 111 005"),
    ("Kučera^Matěj", "M", "0504110062", "Třebízského 9, 767 01 Kroměříž", "+420 601 111 006"),
)
_PHYSICIANS = ("Procházka^Václav^^MUDr.", "Veselá^Božena^^MUDr.", "Hájek^Tomáš^^prof. MUDr.")
_FIRST_DAY = (2019, 1)


def _number(text: str, below: int) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % below


def _uid(text: str) -> UID:
    value = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")
    return UID(f"2.25.{value}")


def _originals() -> list[Path]:
    import data_store

    root = Path(next(iter(data_store.__path__)))
    return sorted(path for path in root.rglob("*") if path.is_file())


def _readable(path: Path) -> FileDataset | None:
    """Return the dataset of an image file that a PACS can store; None for any other file."""
    try:
        data = dcmread(path)
        whole = "PixelData" in data and bool(data.SOPClassUID) and bool(data.SOPInstanceUID)
        if not whole or not data.file_meta.get("TransferSyntaxUID"):
            return None
        for _ in data.iterall():  # an element that cannot be decoded cannot be written again
            pass
    except Exception:  # the package has broken files on purpose
        return None
    return data


def _identify(data: FileDataset, index: int) -> None:
    """Write a patient into a header, the same one for all files of a study.

    Parameters
    ----------
    data
        The dataset, which is changed.
    index
        Number of the study, which chooses the patient.
    """
    study = str(data.StudyInstanceUID)
    name, sex, number, address, phone = _PATIENTS[index % len(_PATIENTS)]
    # ISO_IR 101 (Latin-2) and UTF-8 both occur in Czech hospitals.
    data.SpecificCharacterSet = "ISO_IR 192" if index % 2 else "ISO_IR 101"
    century = "20" if number[:2] < "20" else "19"
    month = int(number[2:4]) % 50
    day = _number(study, 28) + 1
    date = f"{_FIRST_DAY[0] + index % 5}{_number(study + 'm', 12) + 1:02d}{day:02d}"
    data.PatientName = name
    data.PatientID = f"{number[:6]}/{number[6:]}"
    data.OtherPatientNames = name.upper()
    data.PatientBirthDate = f"{century}{number[:2]}{month:02d}{number[4:6]}"
    data.PatientSex = sex
    data.PatientAddress = address
    data.PatientTelephoneNumbers = phone
    data.StudyDate = data.SeriesDate = data.ContentDate = date
    data.StudyTime = f"{8 + index % 9:02d}1530"
    data.StudyID = f"S{index + 1:04d}"
    data.AccessionNumber = f"FNB{date}{index + 1:03d}"[:16]
    data.InstitutionName = "Fakultní nemocnice Brno"
    data.InstitutionAddress = "Jihlavská 20, 625 00 Brno"
    data.InstitutionalDepartmentName = "Klinika radiologie a nukleární medicíny"
    data.StationName = f"RDG{index % 4 + 1}"
    data.ReferringPhysicianName = _PHYSICIANS[index % len(_PHYSICIANS)]
    data.OperatorsName = "Malá^Šárka"
    surname = name.partition("^")[0]
    data.StudyDescription = f"{data.get('Modality') or 'OT'} vyšetření, pac. {surname}"
    data.PatientComments = f"Volat příbuzné pacienta {surname}: {phone}"


def _write(data: FileDataset, target: Path) -> None:
    part = target.with_suffix(".part")
    data.save_as(part, enforce_file_format=True)
    os.replace(part, target)


def make_samples(into: Path) -> list[Path]:
    """Write the sample files that do not exist yet, and return all of them.

    Pixel data and transfer syntax are not changed. Each SOP Instance UID occurs once.

    Parameters
    ----------
    into
        The directory, which is created if it does not exist.
    """
    into.mkdir(parents=True, exist_ok=True)
    done = into / ".complete"
    if done.exists():
        return sorted(into.glob("*.dcm"))
    seen: set[str] = set()
    studies: dict[str, int] = {}
    with warnings.catch_warnings(), config.disable_value_validation():
        warnings.simplefilter("ignore")
        for path in _originals():
            data = _readable(path)
            if data is None or str(data.SOPInstanceUID) in seen:
                continue
            seen.add(str(data.SOPInstanceUID))
            if not data.get("StudyInstanceUID"):
                data.StudyInstanceUID = _uid(f"study {path.name}")
            if not data.get("SeriesInstanceUID"):
                data.SeriesInstanceUID = _uid(f"series {data.StudyInstanceUID}")
            index = studies.setdefault(str(data.StudyInstanceUID), len(studies))
            data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
            data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
            _identify(data, index)
            target = into / f"sample-{len(seen):03d}.dcm"
            if not target.exists():
                try:
                    _write(data, target)
                except Exception:  # pydicom cannot write an element that it could read
                    target.with_suffix(".part").unlink(missing_ok=True)
    done.touch()
    return sorted(into.glob("*.dcm"))
