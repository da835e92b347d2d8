"""Objects of the benchmark that refer to others: structured reports and key objects."""

from __future__ import annotations

from datetime import timedelta

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from .base import Base, Common

SR, KO = "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.88.59"


class Reports(Base):
    """Objects with content items (PS3.3 C.17.3)."""

    def _report(self, common: Common, images: list[Dataset]) -> None:
        person, day, *_ = common
        ds = self._base(SR, common, "SR")
        name = self._name_of(ds)
        ds.CompletionFlag, ds.VerificationFlag = "COMPLETE", "VERIFIED"
        verifier = Dataset()
        verifier.VerifyingObserverName, verifier.VerifyingOrganization = (
            "Dvořák^Jiří",
            "Nemocnice U Lípy",
        )
        verifier.VerificationDateTime = f"{day:%Y%m%d}1130"
        ds.VerifyingObserverSequence = [verifier]
        ds.ValueType, ds.ContinuityOfContent = "CONTAINER", "SEPARATE"
        ds.ConceptNameCodeSequence = [code("18748-4", "LN", "Diagnostic imaging report")]
        section = item("CONTAINER", code("121070", "DCM", "Findings"))
        section.ContentSequence = [item("TEXT", code("121071", "DCM", "Finding")) for _ in range(6)]
        size = item("NUM", code("410668003", "SCT", "Length"))
        measured = Dataset()
        measured.NumericValue = "12.5"
        measured.MeasurementUnitsCodeSequence = [code("mm", "UCUM", "millimeter")]
        size.MeasuredValueSequence = [measured]
        named = item("PNAME", code("121008", "DCM", "Person Observer Name"))
        named.PersonName = f"{person.family}^{person.given}"
        dated = item("DATE", code("121010", "DCM", "Observation date"))
        dated.Date = f"{day - timedelta(days=30):%Y%m%d}"
        timed = item("DATETIME", code("111060", "DCM", "Study Date"))
        timed.DateTime = f"{day:%Y%m%d}093000+0200"
        clock = item("TIME", code("111061", "DCM", "Study Time"))
        clock.Time = "093000"
        uid = item("UIDREF", code("112227", "DCM", "Frame of Reference UID"))
        uid.UID = str(images[0].StudyInstanceUID)
        found = item("CODE", code("121071", "DCM", "Finding"))
        found.ConceptCodeSequence = [code("108369006", "SCT", "Neoplasm")]
        items = [section, size, named, dated, timed, clock, uid, found]
        for image in images:
            items.append(item("IMAGE", code("121080", "DCM", "Best illustration of finding")))
            items[-1].ReferencedSOPSequence = [reference(image)]
        ds.ContentSequence = items
        for number in range(6):
            self._text(
                ds, name, ["ContentSequence", 0, "ContentSequence", number, "TextValue"], person
            )
        self._evidence(ds, "CurrentRequestedProcedureEvidenceSequence", images)
        self._write(ds, person)
        add = self.answers.add
        at = "ContentSequence"
        add("text removed", name, [at, 2, "PersonName"], "gone", [person.family, person.given])
        add("text removed", name, ["VerifyingObserverSequence", 0, "VerifyingObserverName"], "gone",
            ["Dvořák", "Jiří"])  # fmt: skip
        add("text removed", name, ["VerifyingObserverSequence", 0, "VerifyingOrganization"], "gone",
            ["Nemocnice U Lípy"])  # fmt: skip
        add("date shifted", name, ["VerifyingObserverSequence", 0, "VerificationDateTime"], "moved")
        add("date shifted", name, [at, 3, "Date"], "moved")
        add("date shifted", name, [at, 4, "DateTime"], "moved")
        add("tag retained", name, [at, 5, "Time"], "same")
        self._references(name, at, 6, "UID")
        add("tag retained", name, [at, 1, "MeasuredValueSequence", 0, "NumericValue"], "same")
        unit = [at, 1, "MeasuredValueSequence", 0, "MeasurementUnitsCodeSequence", 0]
        for keyword in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning"):
            add("tag retained", name, [*unit, keyword], "same")
            add("tag retained", name, [at, 7, "ConceptCodeSequence", 0, keyword], "same")
            add("tag retained", name, ["ConceptNameCodeSequence", 0, keyword], "same")
        for keyword in ("CompletionFlag", "VerificationFlag", "ValueType"):
            add("tag retained", name, keyword, "same")
        for number in range(len(images)):
            self._references(
                name, at, 8 + number, "ReferencedSOPSequence", 0, "ReferencedSOPInstanceUID"
            )

    def _evidence(self, ds: Dataset, keyword: str, images: list[Dataset]) -> None:
        """Refer to images of this study and of another one, a level for each (PS3.3 C.17.2)."""
        name, studies = self._name_of(ds), []
        for uid in dict.fromkeys(str(image.StudyInstanceUID) for image in images):
            study, series = Dataset(), Dataset()
            study.StudyInstanceUID = uid
            mine = [image for image in images if str(image.StudyInstanceUID) == uid]
            series.SeriesInstanceUID = mine[0].SeriesInstanceUID
            series.ReferencedSOPSequence = [reference(image) for image in mine]
            study.ReferencedSeriesSequence = [series]
            place = (keyword, len(studies))
            self._references(name, *place, "StudyInstanceUID")
            self._references(name, *place, "ReferencedSeriesSequence", 0, "SeriesInstanceUID")
            for number in range(len(mine)):
                inside = ("ReferencedSeriesSequence", 0, "ReferencedSOPSequence", number)
                self._references(name, *place, *inside, "ReferencedSOPInstanceUID")
            studies.append(study)
        setattr(ds, keyword, Sequence(studies))

    def _key_objects(self, common: Common, images: list[Dataset]) -> None:
        ds = self._base(KO, common, "KO")
        name = self._name_of(ds)
        ds.ValueType, ds.ContinuityOfContent = "CONTAINER", "SEPARATE"
        ds.ConceptNameCodeSequence = [code("113000", "DCM", "Of Interest")]
        note = item("TEXT", code("113012", "DCM", "Key Object Description"))
        image = item("IMAGE", None)
        image.ReferencedSOPSequence = [reference(images[1])]
        ds.ContentSequence = [note, image]
        self._text(ds, name, ["ContentSequence", 0, "TextValue"], common[0])
        self._evidence(ds, "CurrentRequestedProcedureEvidenceSequence", images)
        self._write(ds, common[0])
        self._references(name, "ContentSequence", 1, "ReferencedSOPSequence", 0,
                         "ReferencedSOPInstanceUID")  # fmt: skip


def code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def item(value_type: str, concept: Dataset | None) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType = "CONTAINS", value_type
    if concept is not None:
        item.ConceptNameCodeSequence = [concept]
    return item


def reference(image: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = image.SOPClassUID
    item.ReferencedSOPInstanceUID = image.SOPInstanceUID
    return item
