"""What every object of the benchmark has: header, free text, and the questions asked of it."""

from __future__ import annotations

import random
from datetime import date, timedelta
from pathlib import Path

from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset

from support.dicom import save

from .answers import Answers, fold, written
from .people import DESCRIPTORS, FORMATS, TEXTS, WRITINGS, Person, plain

Common = tuple[Person, date, str, str]
_ROOT = "1.3.6.1.4.1.99999"


class Base:
    """Writes files below `root`, numbered as they come, and collects the right answers."""

    def __init__(self, root: Path, seed: int = 7) -> None:
        self.answers = Answers()
        self.inputs: dict[str, Path] = {}
        self._root, self._random = root, random.Random(seed)
        self._uid = 0
        self._writing = 0

    def _new_uid(self) -> str:
        self._uid += 1
        return f"{_ROOT}.{self._uid}.{self._random.randrange(10**9)}"

    def _base(self, sop_class: str, common: Common, modality: str,
              series: str | None = None) -> Dataset:  # fmt: skip
        person, day, study, accession = common
        ds = Dataset()
        ds.SpecificCharacterSet = "ISO_IR 192"
        ds.SOPClassUID, ds.SOPInstanceUID = sop_class, self._new_uid()
        ds.StudyInstanceUID, ds.SeriesInstanceUID = study, series or self._new_uid()
        ds.PatientName, ds.PatientID = f"{person.family}^{person.given}", person.patient_id
        ds.PatientBirthDate, ds.PatientSex = f"{person.birth:%Y%m%d}", person.sex
        ds.PatientAddress, ds.PatientTelephoneNumbers = (
            f"{person.street}, {person.city}",
            person.phone,
        )
        ds.PatientAge = f"{(day - person.birth).days // 365:03d}Y"
        ds.OtherPatientIDs = f"X{person.patient_id}"
        ds.StudyDate = ds.SeriesDate = ds.ContentDate = f"{day:%Y%m%d}"
        ds.StudyTime = ds.SeriesTime = ds.ContentTime = "101530.250"
        ds.AccessionNumber, ds.StudyID = accession, accession[-4:]
        ds.ReferringPhysicianName = "Dvořák^Jiří"
        ds.OperatorsName = "Horká^Alena"
        ds.InstitutionName, ds.StationName = "Nemocnice U Lípy", "CTROOM2"
        ds.InstitutionAddress = "Lipová 1, Praha"
        ds.Manufacturer, ds.ManufacturerModelName = "SIEMENS", "SOMATOM Force"
        ds.DeviceSerialNumber, ds.SoftwareVersions = "SN60012", "syngo CT VB30"
        ds.Modality, ds.SeriesNumber, ds.InstanceNumber = modality, 1, 1
        ds.IssuerOfPatientID = "NEMLIPA"
        return ds

    def _name_of(self, ds: Dataset) -> str:
        return str(ds.SOPInstanceUID)

    def _write(self, ds: Dataset, person: Person) -> str:
        """Write the file with free text, and ask what is asked of every one."""
        name = self._name_of(ds)
        for keyword in self._random.sample(DESCRIPTORS, 3):
            self._text(ds, name, [keyword], person)
        return self._file(ds, person)

    def _file(self, ds: Dataset, person: Person) -> str:
        """Write the file as it is, and ask what is asked of every one."""
        name, answers = self._name_of(ds), self.answers
        answers.patient_of[name] = person.patient_id
        answers.study_date[name] = date(
            int(ds.StudyDate[:4]), int(ds.StudyDate[4:6]), int(ds.StudyDate[6:])
        )
        # Below the standard's root, and none of its own.
        digits = "".join(filter(str.isdigit, person.patient_id)) or "1"
        ds.InstanceCreatorUID = f"1.2.840.10008.{ds.StudyDate}.{digits}"
        self.inputs[name] = save(ds, self._root / f"{len(self.inputs):04d}.dcm")
        answers.add("patient ID consistent", name, "PatientID", "subject")
        for uid in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID",
                    "InstanceCreatorUID"):  # fmt: skip
            answers.add("UID changed", name, uid, "new_uid")
        for keyword in ("StudyDate", "SeriesDate", "ContentDate"):
            answers.add("date shifted", name, keyword, "moved")
        for keyword in ("Modality", "Manufacturer", "ManufacturerModelName", "SeriesNumber",
                        "InstanceNumber", "PatientSex", "SOPClassUID", "StudyTime"):  # fmt: skip
            answers.add("tag retained", name, keyword, "same")
        for keyword in ("PatientName", "PatientBirthDate", "AccessionNumber", "StudyID",
                        "ReferringPhysicianName"):  # fmt: skip
            answers.add("tag retained", name, keyword, "present")
        self._absent_text(ds, name)
        return name

    def _absent_text(self, ds: Dataset, name: str) -> None:
        for keyword in ("PatientName", "PatientBirthDate", "PatientAddress", "OtherPatientIDs",
                        "PatientTelephoneNumbers", "AccessionNumber", "ReferringPhysicianName",
                        "OperatorsName", "InstitutionName", "InstitutionAddress", "StationName",
                        "DeviceSerialNumber", "IssuerOfPatientID"):  # fmt: skip
            value = str(getattr(ds, keyword))
            tokens = [part for part in value.replace("^", " ").split() if len(fold(part)) > 2]
            self.answers.add("text removed", name, keyword, "gone", [value, *tokens])

    def _text(self, ds: Dataset, name: str, path: list[str | int], person: Person) -> None:
        """Put free text into an element and ask that its identity goes and its matter stays."""
        text = ""
        # What is too long for an LO is not written there.
        while not text or len(text) > (64 if dictionary_VR(str(path[-1])) == "LO" else 1024):
            number = self._writing
            self._writing += 1
            template, matter = TEXTS[number % len(TEXTS)]
            writing = WRITINGS[(number // len(TEXTS) + number) % len(WRITINGS)](person)
            day = date(2020, 1, 1) + timedelta(days=self._random.randrange(1200))
            form = FORMATS[number % len(FORMATS)]
            values = {
                "n": writing, "d": written(day, form), "i": person.patient_id, "p": person.phone,
                "e": person.email, "s": person.street, "c": person.city, "r": "Jiří Dvořák",
                "a": str(ds.AccessionNumber),
            }  # fmt: skip
            text = template.format(**values)
        target = ds
        for step in path[:-1]:
            target = target[step] if isinstance(step, int) else getattr(target, step)
        setattr(target, str(path[-1]), text)
        gone = [value for key, value in values.items() if f"{{{key}}}" in template and key != "n"]
        if "{n}" in template:
            gone += [part for part in (person.family, *person.given.split()) if _in(part, writing)]
        if "{d}" in template:
            self.answers.add("date shifted", name, path, "text_date", (day, form))
        self.answers.add("text removed", name, path, "gone", gone)
        self.answers.add("text retained", name, path, "kept", matter)

    def _references(self, name: str, *path: str | int) -> None:
        self.answers.add("UID changed", name, list(path), "new_uid")
        self.answers.add("UID consistent", name, list(path), "follows")


def _in(part: str, writing: str) -> bool:
    return fold(plain(part)) in fold(plain(writing))
