"""Collect what identifies the patient in a study's headers, to find it again in texts and bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from ..log_suppression import pydicom_suppressed
from .caching.seen_elements import SeenElements
from .header_parser import decode_elements, parse_header
from .inflate import check_inflates
from .institutions import Institutions
from .names import PersonNames
from .regularise import regularise
from .text_folding import FoldedText, fold, fold_with_positions, to_nfc, undo_mojibake
from .truncation import IrregularError
from .value_repair import repair_date

NAMES = frozenset({0x00100010, 0x00101001, 0x00101005, 0x00101060})
# LO and SH that identify a patient, a visit or an order. (Every PN names a person of the study.)
IDS = frozenset(
    {
        0x00080050,
        0x00100020,
        0x00101000,
        0x00101040,
        0x00102154,
        0x00102155,
        0x00101002,
        0x00101090,
        0x00200010,
        0x00380010,
        0x00380060,
        0x00321064,
        0x00401001,
        0x00400009,
        0x00402016,
        0x00402017,
        0x00400253,
        0x00101081,
        0x00120040,
        0x00120042,
    }
)
# Serial number, station names and AE title: they lead to one device, and so to its patients.
DEVICES = frozenset({0x00181000, 0x00081010, 0x00400241, 0x00400242})
BIRTH = frozenset({0x00100030})
# Addresses and telephone numbers of the patient, and the institution's name and address.
PLACES = frozenset(
    {
        0x00101040,
        0x00102154,
        0x00102155,
        0x00102299,
        0x00080080,
        0x00080081,
        0x00081040,
        0x00080092,
        0x00080094,
        0x00380300,
        0x00380400,
        0x0040A027,
    }
)
_WORD = re.compile(r"[^\W_]+")
# The number of an identifier, as people copy it: 12345 of MRN0012345.
_CORE = re.compile(r"[a-z]{0,6}0*(\d+)")
_LONG_NUMBER = 5
# A number with as many digits does not occur inside a UID by chance.
_SURE_NUMBER = 7
_MODEL = 0x00081090
_INSTITUTIONS = frozenset({0x00080080, 0x00081040, 0x0040A027})
# Dates of the examination; a newborn is examined on its birthday.
_EXAMINED = frozenset({0x00080020, 0x00080021, 0x00080022, 0x00080023, 0x0008002A})
_DAY = re.compile(r"\d{8}")
# Elements of these VRs identify nobody, unless they are listed above.
_VRS_WITHOUT_IDENTITY = frozenset(
    (b"AE", b"AS", b"AT", b"CS", b"DS", b"FD", b"FL", b"IS", b"LO", b"LT", b"SH",
     b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US")
)  # fmt: skip
_LISTED = NAMES | IDS | DEVICES | BIRTH | PLACES | {_MODEL}


@dataclass(frozen=True)
class StudyIdentifiers:
    """The identifying values of one study. Identifies patients: keep in memory only.

    Attributes
    ----------
    names
        Values of PN, of the patient and of all others.
    ids
        Identifiers of the patient, of visits and of orders.
    birth_dates
        As they are written.
    places
        Addresses, telephone numbers and institutions; found in texts word by word.
    devices
        Serial numbers, station names and AE titles.
    staff
        Those of `names` that are not the patient's.
    dates
        All other dates, as YYYYMMDD.
    models
        Model names: a station named like its model is not told from others.
    study_dates
        Dates of the examination, as YYYYMMDD.
    institutions
        Names of institutions.
    uids
        UIDs, of instances and of whatever else.
    """

    names: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    birth_dates: frozenset[str] = frozenset()
    places: frozenset[str] = frozenset()
    devices: frozenset[str] = frozenset()
    staff: frozenset[str] = frozenset()
    dates: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()
    study_dates: frozenset[str] = frozenset()
    institutions: frozenset[str] = frozenset()
    uids: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        """Return a text that holds no identifying value."""
        return f"StudyIdentifiers({len(self.names)} names, {len(self.ids)} ids)"

    def __or__(self, other: StudyIdentifiers) -> StudyIdentifiers:
        """Return the values of both; a name is staff's only if neither has it as the patient's."""
        return StudyIdentifiers(
            self.names | other.names,
            self.ids | other.ids,
            self.birth_dates | other.birth_dates,
            self.places | other.places,
            self.devices | other.devices,
            (self.staff | other.staff) - (self.names - self.staff) - (other.names - other.staff),
            self.dates | other.dates,
            self.models | other.models,
            self.study_dates | other.study_dates,
            self.institutions | other.institutions,
            self.uids | other.uids,
        )

    @cached_property
    def without_devices(self) -> StudyIdentifiers:
        """The same without devices, for profiles that keep them."""
        return replace(self, devices=frozenset())

    @cached_property
    def person_names(self) -> PersonNames:
        """The names, prepared to be found in texts."""
        # An identifier without a digit is found as a name is.
        called = {value for value in self.ids if value.isalpha() and len(value) >= 6}
        patients, others = set(self.names - self.staff), set(self.staff | called)
        for names in (patients, others):
            names |= {read for name in names if (read := undo_mojibake(name)) is not None}
        return PersonNames(patients, others)

    @cached_property
    def institution_names(self) -> Institutions:
        """The institutions, prepared to be found in designators of coding schemes."""
        return Institutions(self.institutions)

    @cached_property
    def birth_days(self) -> frozenset[str]:
        """The patient's birth date, as YYYYMMDD."""
        return frozenset(repair_date(value) or value[:8] for value in self.birth_dates)

    @cached_property
    def known_days(self) -> frozenset[str]:
        """All days of the headers, as YYYYMMDD: a text may repeat them."""
        return self.birth_days | self.dates

    @cached_property
    def birth_days_outside_study(self) -> frozenset[str]:
        """Birth dates that are not a day of the examination, as a newborn's is."""
        return self.birth_days - self.study_dates

    @cached_property
    def compact(self) -> tuple[str, ...]:
        """Identifiers, birth dates and devices without separators, of four characters or more."""
        values = {fold(v).replace(" ", "") for v in self.ids | self.birth_dates}
        models = {fold(v) for v in self.models}
        devices = {fold(v).replace(" ", "") for v in self.devices if fold(v) not in models}
        # Too many stations share a name that is a plain word.
        values |= {value for value in devices if not value.isalpha()}
        return tuple(sorted(v for v in values if len(v) >= 4))

    @cached_property
    def _numbers(self) -> frozenset[str]:
        """The numbers of identifiers and devices, without letters and zeros in front of them."""
        compact = {fold(v).replace(" ", "") for v in self.ids | self.devices}
        cores = {match[1] for v in compact if (match := _CORE.fullmatch(v))}
        return frozenset(core for core in cores if len(core) >= _LONG_NUMBER)

    def occur_in_uid(self, uid: str) -> bool:
        """Return whether a UID holds a birth date, or the number of an identifier."""
        if not self._in_uids:
            return False
        parts = uid.split(".")
        squeezed = "".join(parts)
        return any(
            number in squeezed if len(number) >= _SURE_NUMBER else number in parts
            for number in self._in_uids
        ) or any(day in part for part in parts for day in self.birth_days_outside_study)

    @cached_property
    def _in_uids(self) -> frozenset[str]:
        """Numbers to find in UIDs; shorter ones occur in every UID."""
        numbers = {re.sub(r"\D", "", value) for value in self.ids}
        numbers = {number for number in numbers if len(number) >= _LONG_NUMBER}
        return frozenset(numbers | {day for day in self.birth_days_outside_study if len(day) == 8})

    @cached_property
    def _phrases(self) -> frozenset[tuple[str, ...]]:
        parts = (tuple(fold(p).split()) for v in self.places for p in re.split(r"[,;^\n\r]", v))
        return frozenset(p for p in parts if len("".join(p)) >= 4 and p != ("hospital",))

    @cached_property
    def _compact_places(self) -> tuple[str, ...]:
        parts = (p for v in self.places for p in (v, *re.split(r"[,;^\\\n\r]", v)))
        compact = {fold(part).replace(" ", "") for part in parts}
        return tuple(sorted(c for c in compact if len(c) >= 8 and not c.isdigit()))

    def occur_in(
        self, text: str, places: bool = True, short: bool = False, joined: bool = True
    ) -> bool:
        """Return whether any of the values occurs in a text.

        Parameters
        ----------
        text
            The text.
        places
            Whether addresses and institutions count.
        short
            Whether a patient's name of two letters counts as a word of its own. It does not in
            codes.
        joined
            Whether names count that are written together. In bytes they occur by chance.

        Returns
        -------
        bool
        """
        text = to_nfc(text)
        flat = fold_with_positions(text)
        if self.person_names.find_spans(text, flat, short, joined):
            return True
        words = _WORD.findall(flat.text)
        squeezed = "".join(words)
        if places and any(place in squeezed for place in self._compact_places):
            return True
        # A short number occurs inside longer ones by chance: it has to be a word.
        return any(v in (squeezed if len(v) >= 6 else words) for v in self.compact)

    def find_spans(self, text: str) -> list[tuple[int, int]]:
        """Return start and end of each value in a text in Unicode NFC."""
        flat = fold_with_positions(text)
        return [flat.span(start, end) for start, end in self._spans(text, flat)]

    def _spans(self, text: str, flat: FoldedText) -> list[tuple[int, int]]:
        found = self.person_names.find_spans(text, flat)
        tokens = [(*match.span(), match[0]) for match in _WORD.finditer(flat.text)]
        squeezed = "".join([word for _, _, word in tokens])
        values = [v for v in (*self.compact, *self._compact_places) if len(v) >= 6]
        values = [value for value in values if value in squeezed]
        if values:
            owner = [n for n, (_, _, word) in enumerate(tokens) for _ in word]
            place = [at for start, end, _ in tokens for at in range(start, end)]
        for value in values:
            at = squeezed.find(value)
            while at >= 0:
                last = at + len(value) - 1
                if value in self.birth_days:
                    found.append((place[at], place[last] + 1))  # a time behind it may stay
                else:
                    found.append((tokens[owner[at]][0], tokens[owner[last]][1]))
                at = squeezed.find(value, at + 1)
        short = {v for v in self.compact if len(v) < 6} | self._numbers
        found += [(start, end) for start, end, word in tokens if word in short]
        for phrase in self._phrases:
            for n in range(len(tokens) - len(phrase) + 1):
                if all(tokens[n + k][2] == part for k, part in enumerate(phrase)):
                    found.append((tokens[n][0], tokens[n + len(phrase) - 1][1]))
        return found


def _values(value: object) -> Iterator[str]:
    if value is None or isinstance(value, bytes):
        return
    if isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue":
        for item in value:  # type: ignore[attr-defined]
            yield from _values(item)
        return
    text = str(value).strip(" \0")
    if text:
        yield text


def collect_from_dataset(ds: Dataset) -> StudyIdentifiers:
    """Collect the identifying values of a dataset, at every depth.

    An element that cannot be decoded is skipped.
    """
    names: set[str] = set()
    patients: set[str] = set()
    ids: set[str] = set()
    births: set[str] = set()
    dates: set[str] = set()
    examined: set[str] = set()
    places: set[str] = set()
    devices: set[str] = set()
    models: set[str] = set()
    institutions: set[str] = set()
    uids: set[str] = set()
    stack = [ds]
    while stack:
        current = stack.pop()
        for tag in list(current.keys()):
            try:
                element = current[tag]
                if element.VR == "SQ":
                    stack.extend(element.value or [])
                elif element.VR == "UI":
                    uids.update(_values(element.value))
                elif element.VR == "PN":
                    (patients if int(tag) in NAMES else names).update(_values(element.value))
                elif int(tag) in IDS:
                    ids.update(_values(element.value))
                elif int(tag) in BIRTH:
                    births.update(_values(element.value))
                elif element.VR in ("DA", "DT"):
                    days = {
                        day[0]
                        for v in _values(element.value)
                        if (day := _DAY.match(v.replace(".", "")))
                    }
                    dates |= days
                    if int(tag) in _EXAMINED:
                        examined |= days
                elif int(tag) in DEVICES:
                    devices.update(_values(element.value))
                elif int(tag) == _MODEL:
                    models.update(_values(element.value))
                if int(tag) in PLACES:
                    places.update(_values(element.value))
                if int(tag) in _INSTITUTIONS:
                    institutions.update(_values(element.value))
            except Exception:
                continue
    return StudyIdentifiers(
        names=frozenset(names | patients),
        ids=frozenset(ids),
        birth_dates=frozenset(births),
        places=frozenset(places),
        devices=frozenset(devices),
        staff=frozenset(names - patients),
        dates=frozenset(dates),
        models=frozenset(models),
        study_dates=frozenset(examined),
        institutions=frozenset(institutions),
        uids=frozenset(uids),
    )


def collect_identifiers(paths: Iterable[Path]) -> StudyIdentifiers:
    """Collect the identifying values of all headers of a study; unreadable files are skipped."""
    total = StudyIdentifiers()
    seen, uids = SeenElements(), set[str]()
    for path in paths:
        try:
            with pydicom_suppressed():
                total |= collect_from_dataset(_read_new_elements(path, seen, uids))
        except Exception:
            # The anonymiser holds such a file, and names the reason.
            continue
    return replace(total, uids=total.uids | uids)


def _read_new_elements(path: Path, seen: SeenElements, uids: set[str]) -> Dataset:
    """Read a header, without the elements that an earlier one had byte for byte.

    UIDs at its top level are added to ``uids`` as they are: most differ from slice to slice, and
    decoding them would cost more than all the rest.
    """
    with path.open("rb") as file:
        stream: BinaryIO = file
        try:
            header = parse_header(stream)
        except IrregularError:
            header, stream = None, regularise(stream)
        if header is None:
            try:
                check_inflates(stream)
                stream.seek(0)
                return dcmread(stream, stop_before_pixels=True)
            except (InvalidDicomError, IrregularError):
                return dcmread(regularise(stream), stop_before_pixels=True)
    if not header.implicit:
        for data in header.elements.values():
            if data[4:6] == b"UI":
                uids.update(data[8:].decode("latin-1").strip(" \0").split("\\"))
    tags = [
        tag
        for tag, data in header.elements.items()
        if not tag & 0x10000
        and (header.implicit or tag in _LISTED or data[4:6] not in _VRS_WITHOUT_IDENTITY)
    ]
    return decode_elements(header, seen.select_new(header, tags))
