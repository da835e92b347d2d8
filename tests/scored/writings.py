"""Patients of many languages, their names and dates as people write them into free text."""

from __future__ import annotations

from datetime import date, timedelta

from support.written_names import NAMES, ways

from .images import CT, Images
from .people import Person
from .reports import SR, code, item

_PLACES = ("StudyDescription", "SeriesDescription", "ImageComments", "ProtocolName")
_MATTER = "5.0 B30f 512x512"


class Writings(Images):
    """One small study of each: short names, unspaced scripts, joined names, dates of any form."""

    def _writings(self) -> None:
        days = iter(range(10**6))
        for number, (language, name, texts) in enumerate(NAMES):
            family, _, given = name.split("=")[0].partition("^")
            born = date(1940, 1, 15) + timedelta(days=937 * (number % 30))
            day = date(2022, 3, 10) + timedelta(days=17 * number)
            person = Person(
                family, given, "F", born, f"W{number:04d}/{language}",
                f"+420 603 999 {100 + number}", f"w{number}@example.org", f"Polní {number}", "Zlín",
            )  # fmt: skip
            common = (person, day, self._new_uid(), f"ACC{5_000_000 + number}")
            written = [*ways(born), *ways(day)]
            for text in texts:
                ds = self._image(CT, common, self._new_uid(), 1)
                ds.PatientName = name
                file = self._name_of(ds)
                for place in _PLACES:
                    dated = written[next(days) % len(written)]
                    setattr(ds, place, f"{_MATTER} / {text} / {dated}"[:64])
                    gone = [text] if len(text) > 2 else []
                    gone += [dated] if f"/ {dated}" in getattr(ds, place) else []
                    self.answers.add("text removed", file, place, "gone", gone)
                    self.answers.add("text retained", file, place, "kept", _MATTER)
                self._file(ds, person)
            report = self._base(SR, common, "SR")
            report.PatientName = name
            report.CompletionFlag, report.VerificationFlag = "COMPLETE", "UNVERIFIED"
            report.ValueType, report.ContinuityOfContent = "CONTAINER", "SEPARATE"
            report.ConceptNameCodeSequence = [code("18748-4", "LN", "Diagnostic imaging report")]
            birth = item("DATE", code("121031", "DCM", "Subject Birth Date"))
            birth.Date = f"{born:%Y%m%d}"
            local = item("DATETIME", code("DOB", "99LOCAL", "born"))
            local.DateTime = f"{born:%Y%m%d}000000"
            studied = item("DATE", code("111060", "DCM", "Study Date"))
            studied.Date = f"{day:%Y%m%d}"
            report.ContentSequence = [birth, local, studied]
            file = self._file(report, person)
            self.answers.add("text removed", file, ["ContentSequence", 0, "Date"], "dummy")
            self.answers.add("text removed", file, ["ContentSequence", 1, "DateTime"], "dummy")
            self.answers.add("date shifted", file, ["ContentSequence", 2, "Date"], "moved")
