"""Check an object that somebody made of deposited instances: it has no source to compare with.

What the object may say of the patient is what the deposited header says. Everything else is
searched for what is known of the patient: identifiers, hashed names and birth dates, original UIDs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from ...errors import NotTakenError
from .element_dates import days_in_value
from .file_meta import check_structure
from .findings import format_tag
from .identity import Identity
from .identity_search import IdentitySearch, find_dates
from .names import NOT_NAMES
from .reader import Element, Header, Items, MalformedError, read_header, read_header_stream
from .text_decoding import decode, encodings_of, possible_readings
from .uids import CLASS_UID_TAGS, is_standard, is_valid

_DEFAULT = ("iso8859",)
_TEXTS = frozenset(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"))
_DATES = frozenset(("DA", "DT"))
_BYTES = frozenset(("OB", "OW", "UN"))
_PATIENT_ID = 0x00100020
# A person's words are found in names of this length or longer; shorter ones are words of their own.
_SHORTEST = 3
# Binary values outside pixel data are searched up to this length.
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class PatientTest:
    """What tells whether a text is of the patient, without holding any of the patient's values.

    Attributes
    ----------
    is_name
        Whether a word is one of the patient's names.
    is_birth
        Whether a date, ``YYYYMMDD``, is the patient's birth date.
    """

    is_name: Callable[[str], bool]
    is_birth: Callable[[str], bool]


@dataclass(frozen=True)
class ResultUids:
    """The UIDs of an object.

    Attributes
    ----------
    all
        Every UID that is not the standard's and names no class.
    references
        Referenced SOP Class UID and Referenced SOP Instance UID of each reference.
    studies, series, frames
        Study, Series and Frame of Reference UIDs anywhere in it.
    """

    all: frozenset[str]
    references: frozenset[tuple[str, str]]
    studies: frozenset[str]
    series: frozenset[str]
    frames: frozenset[str]


def read_result(path: Path) -> Header:
    """Read an object's header.

    Raises
    ------
    NotTakenError
        ``not-clean``: it cannot be read, or has content outside its data set.
    """
    try:
        header = read_header(path)
    except MalformedError as error:
        raise NotTakenError("not-clean", f"it cannot be read: {error}") from None
    check_structure(header)
    return header


def uids_of(header: Header) -> ResultUids:
    """Return the UIDs of an object.

    Raises
    ------
    NotTakenError
        ``not-clean``: one of them is no UID (PS3.5 9.1).
    """
    every: set[str] = set()
    references: set[tuple[str, str]] = set()
    named: dict[int, set[str]] = {0x0020000D: set(), 0x0020000E: set(), 0x00200052: set()}
    for items in _datasets(header.elements):
        for tag, element in items.items():
            if element.vr != "UI" or element.items is not None:
                continue
            for value in element.value.split(b"\\"):
                uid = value.strip(b"\0 ")
                if not uid:
                    continue
                if not is_valid(uid):
                    raise NotTakenError("not-clean", f"{format_tag(tag)} holds what is no UID")
                if tag in named:
                    named[tag].add(uid.decode())
                if tag not in CLASS_UID_TAGS and not is_standard(uid):
                    every.add(uid.decode())
        if 0x00081155 in items:
            sop_class = _text(items, 0x00081150)
            references |= {(sop_class, uid) for uid in _text(items, 0x00081155).split("\\") if uid}
    return ResultUids(
        frozenset(every),
        frozenset(references),
        *(frozenset(named[tag]) for tag in (0x0020000D, 0x0020000E, 0x00200052)),
    )


def check_result(
    header: Header, deposited: Header, subject: str, identity: Identity, patient: PatientTest
) -> None:
    """Refuse an object that identifies the patient.

    Parameters
    ----------
    header
        The object's header.
    deposited
        The header of an instance that it refers to, as it was deposited.
    subject
        The patient's pseudonym.
    identity
        What the vault knows of the patient.
    patient
        Tells the patient's names and birth date.

    Raises
    ------
    NotTakenError
        ``identity-left`` or ``private-left``. The text names an element, never a value.
    """
    _check_patient(header.elements, deposited.elements, subject)
    search = _Search(identity, patient, deposited)
    search.run(header.elements, _DEFAULT)


def _check_patient(made: Items, deposited: Items, subject: str) -> None:
    """Refuse patient attributes other than those of the deposited instance (PS3.3 C.7.1)."""
    if _text(made, _PATIENT_ID) != subject:
        raise NotTakenError(
            "identity-left",
            f"{format_tag(_PATIENT_ID)} is not the subject of the instances that it refers to",
        )
    for tag, element in made.items():
        if tag >> 16 != 0x0010 or element.items is not None:
            continue
        value = element.value.strip(b"\0 ^")
        known = deposited.get(tag)
        if not value or tag == _PATIENT_ID or value == subject.encode():
            continue
        if known is None or value != known.value.strip(b"\0 ^"):
            raise NotTakenError(
                "identity-left",
                f"{format_tag(tag)} is not as in the instances that it refers to; leave it "
                "empty or copy it from them",
            )


class _Search:
    def __init__(self, identity: Identity, patient: PatientTest, deposited: Header) -> None:
        self._search = IdentitySearch(identity)
        self._original = identity.original_uids
        self._patient = patient
        self._deposited = deposited.elements
        # Words of the deposited header are no news, even if the patient is called Brain.
        self._known = {
            word
            for items in _datasets(deposited.elements)
            for element in items.values()
            if element.vr in _TEXTS
            for text in possible_readings(element.value, encodings_of(deposited.elements, _DEFAULT))
            for word in _words(text)
        }

    def run(self, items: Items, outer: tuple[str, ...]) -> None:
        encodings = encodings_of(items, outer)
        for tag, element in items.items():
            if tag >> 16 & 1:
                self._private(tag, element)
            if element.items is not None:
                for item in element.items:
                    self.run(item, encodings)
            elif element.vr == "UI":
                for uid in element.value.split(b"\\"):
                    if uid.strip(b"\0 ") in self._original:
                        raise _left(tag, "an original UID")
            elif element.vr in _DATES:
                days = days_in_value(element.value.decode("latin-1"))
                if any(map(self._patient.is_birth, days)):
                    raise _left(tag, "a birth date")
            elif element.vr in _TEXTS and element.value:
                self._text(tag, element, encodings)
            elif element.vr in _BYTES:
                found = self._search.search_bytes(element.value[:_MOST_BYTES])
                if found:
                    raise _left(tag, found)

    def _private(self, tag: int, element: Element) -> None:
        """Refuse a private element that is not copied from the deposited instance."""
        known = self._deposited.get(tag)
        if known is None or element.items is not None or known.value != element.value:
            raise NotTakenError(
                "private-left",
                f"{format_tag(tag)} is a private element that the instances it refers to do not "
                "have; write the object without it",
            )

    def _text(self, tag: int, element: Element, encodings: tuple[str, ...]) -> None:
        for text in {
            decode(element.value, encodings),
            *possible_readings(element.value, encodings),
        }:
            if found := self._search.search_text(text, short=False):
                raise _left(tag, found)
            for word in _words(text) - self._known:
                if self._patient.is_name(word):
                    raise _left(tag, "a name of the patient")
            if any(map(self._patient.is_birth, find_dates(text))):
                raise _left(tag, "a birth date")


def _words(text: str) -> set[str]:
    parts = "".join(letter if letter.isalnum() else " " for letter in text).split()
    return {part for part in parts if len(part) >= _SHORTEST and part.casefold() not in NOT_NAMES}


def _left(tag: int, what: str) -> NotTakenError:
    return NotTakenError(
        "identity-left", f"{format_tag(tag)} holds {what}; write the object without it"
    )


def _datasets(items: Items) -> Iterator[Items]:
    yield items
    for element in items.values():
        for item in element.items or ():
            yield from _datasets(item)


def _text(items: Items, tag: int) -> str:
    element = items.get(tag)
    return element.value.strip(b"\0 ").decode("latin-1") if element else ""


def header_of(head: bytes) -> Header:
    """Read the header of a deposited instance from its first bytes.

    Raises
    ------
    NotTakenError
        ``not-clean``: it cannot be read.
    """
    try:
        return read_header_stream(BytesIO(head))
    except MalformedError as error:
        raise NotTakenError(
            "not-clean", f"the deposited instance cannot be read: {error}"
        ) from None
