"""Recognise public terms and UIDs, which identify nobody."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from pydicom.datadict import DicomDictionary, tag_for_keyword
from pydicom.uid import UID_dictionary

from ..uids import is_uid
from .identifiers import StudyIdentifiers
from .text_folding import fold
from .value_repair import repair_date

# UIDs of PS3.6 Annex A: SOP classes, transfer syntaxes, well-known instances. Any other UID below
# 1.2.840.10008 was made up by somebody, and may identify a patient.
STANDARD_UIDS = frozenset(UID_dictionary) | {
    # Newer than pydicom's dictionary: JPEG XL, and Deflated Image Frame Compression. pynetdicom
    # adds them, so that the result would depend on whether it is imported.
    "1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.111", "1.2.840.10008.1.2.4.112",
    "1.2.840.10008.1.2.8.1",
}  # fmt: skip
# Attributes whose UIDs name a class and never a single instance: SOP classes and transfer syntaxes,
# coding schemes, context groups, mapping resources.
_KINDS = frozenset(
    tag for tag, entry in DicomDictionary.items()
    if entry[0] == "UI" and re.search("SOPClass|TransferSyntaxUID", entry[4])
) | {0x0008010C, 0x00080117, 0x00080118}  # fmt: skip
# Roots of makers and organisations that define classes and schemes; their digits identify nobody.
_ROOTS = re.compile(
    r"(1\.2\.840\.(10008|113619|113543|113704|113845|114089)|1\.3\.12\.2\.1107"
    r"|1\.3\.46\.670589|1\.2\.392\.20003[69](\.9\d{3})?|1\.2\.246\.352|1\.2\.752\.24"
    r"|1\.2\.826\.0\.1\.3680043|1\.2\.276\.0|2\.16\.840\.1\.113(883|995)|1\.3\.6\.1\.4\.1)\."
)
# Context groups (PS3.6 Table A-3), which pydicom's dictionary does not have.
_CONTEXT_GROUP = re.compile(r"1\.2\.840\.10008\.6\.1\.[1-9]\d{0,3}")
_DATE = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
_CODING_SCHEME_VERSION = 0x00080103
_VERSION = re.compile(r"[vV]?\d{1,4}([._-]\d{1,4}){0,3}[A-Z]{0,2}|(19|20)\d{6}")
_MANUFACTURER, _KERNEL_TAG = 0x00080070, 0x00181210
_MAKERS = frozenset(
    {"agfa", "canon medical systems", "carestream", "carestream health", "esaote", "fujifilm",
     "fujifilm corporation", "fuji photo film co ltd", "ge healthcare", "ge medical systems",
     "hitachi", "hitachi medical corporation", "hologic inc", "konica minolta", "mindray",
     "philips", "philips healthcare", "philips medical systems", "samsung medison co ltd",
     "shimadzu", "siemens", "siemens healthineers", "siemens health services", "toshiba",
     "toshiba mec", "varian medical systems", "elekta", "brainlab", "accuray"}
)  # fmt: skip
_KERNEL = re.compile(r"[A-Z]{1,3}\d{1,3}[a-z]{0,2}|STANDARD|BONE|BONEPLUS|SOFT|LUNG|DETAIL|EDGE")


def _terms() -> dict[int, frozenset[str]]:
    found: dict[int, frozenset[str]] = {}
    text = Path(__file__).with_name("defined_terms.txt").read_text("ascii")
    for entry in re.split(r"\n(?! )", re.sub(r"#.*\n", "", text).strip("\n")):
        keyword, *words = entry.split()
        tag = tag_for_keyword(keyword)
        if tag is not None:
            found[tag] = frozenset(word.replace("~", " ") for word in words)
    return found


_TERMS = _terms()


def defined_terms(tag: int) -> frozenset[str]:
    """Return the defined terms of an attribute. They stay even if a patient has such a name."""
    return _TERMS.get(tag, frozenset())


def is_defined_term(tag: int, text: str) -> bool:
    """Return whether a text is a defined term of its attribute, or a known manufacturer.

    Parameters
    ----------
    tag
        The attribute.
    text
        Its value.

    Returns
    -------
    bool
    """
    text = text.strip(" \0")
    if tag == _MANUFACTURER:
        return fold(text) in _MAKERS
    return text in defined_terms(tag)


# Code strings that devices write and nobody types: of equipment, acquisition and image. Short words
# that they add to the defined terms are kept, unless they name somebody of the study; a longer one
# that no vocabulary has may be a name.
_DEVICE_GROUPS = frozenset({0x0014, 0x0018, 0x0022, 0x0028, 0x0048, 0x0052, 0x0054})
_BODY_PART, _IMAGE_TYPE, _FRAME_TYPE = 0x00180015, 0x00080008, 0x00089007
_LETTERS, _SHORT_WORD = re.compile(r"[A-Za-z]+"), 4
# An identifier's length.
_LONG_NUMBER = re.compile(r"\d{5}")
# Versions of software: four numbers are no network address there.
_VERSIONS = frozenset({0x00181019, 0x0018101A, 0x00181020})


def holds_versions(tag: int) -> bool:
    """Return whether an attribute holds versions of software."""
    return tag in _VERSIONS


def is_device_code(tag: int, value: str) -> bool:
    """Return whether a code string is one that only a device writes, of known or short words.

    Parameters
    ----------
    tag
        The attribute.
    value
        One value, in the letters of a CS (PS3.5 6.2).

    Returns
    -------
    bool
        False for body parts, which people type, and for a value that holds a long number.
    """
    written = tag >> 16 in _DEVICE_GROUPS and tag != _BODY_PART
    if not (written or tag in (_IMAGE_TYPE, _FRAME_TYPE)) or _LONG_NUMBER.search(value):
        return False
    # General Electric ends its own terms so.
    return value.endswith("_GEMS") or all(
        len(word) <= _SHORT_WORD or is_code_string(word) for word in _LETTERS.findall(value)
    )


# Short codes with a digit: T2, C5, DIS2D, 512. A longer number may be somebody's identifier.
_SHORT_CODE = re.compile(r"[A-Z]{1,2}|(?=.{1,5}$)[A-Z]{0,3}\d{1,3}[A-Z]{0,3}")
_STANDARDS = frozenset(("10918", "13818", "14495", "14496", "15444", "18181", "23008"))


@lru_cache(maxsize=1)
def _words() -> frozenset[str]:
    lines = Path(__file__).with_name("terms.txt").read_text("ascii").splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())


@lru_cache(maxsize=4096)
def is_code_string(value: str) -> bool:
    """Return whether a code string consists of words that PS3.3 uses in defined terms.

    What attributes may hold is seldom closed: makers add terms of their own. A word that no
    defined term has, and that is longer than two letters, may be somebody's name.
    """
    return all(
        word in _words() or word in _STANDARDS or _SHORT_CODE.fullmatch(word)
        for word in re.split(r"[_ ]+", value.strip("\0 _"))
        if word
    )


def holds_class_uids(tag: int) -> bool:
    """Return whether the UIDs of an attribute name a class, and never a single instance."""
    return tag in _KINDS


def is_public_class_uid(uid: str, identifiers: StudyIdentifiers) -> bool:
    """Return whether the UID of a class or scheme, a maker's included, identifies nobody.

    It must hold no date, no number long enough to be a person's, and no identifier of the study.

    Parameters
    ----------
    uid
        The UID.
    identifiers
        Identifying values of the study.

    Returns
    -------
    bool
    """
    if not is_uid(uid):
        return False
    if _CONTEXT_GROUP.fullmatch(uid):
        return True
    own = _ROOTS.sub("", uid, count=1) if _ROOTS.match(uid) else uid
    parts = own.removeprefix("2.25.").split(".") if own == uid else own.split(".")
    if not uid.startswith("2.25.") and any(len(part) > 9 or _DATE.search(part) for part in parts):
        return False
    squeezed = uid.replace(".", "")
    numbers = {re.sub(r"\D", "", value) for value in identifiers.compact}
    # A birth date may also be written with day or month first.
    numbers |= {
        form
        for date in identifiers.birth_dates
        if (born := repair_date(date)) and len(born) == 8
        for form in (born[6:] + born[4:6] + born[:4], born[4:] + born[:4])
    }
    return not any(
        (number in squeezed) if len(number) >= 6 else (number in parts)
        for number in numbers
        if len(number) >= 4
    )


def is_term(tag: int, text: str) -> bool:
    """Return whether a text is a public term of its attribute.

    Parameters
    ----------
    tag
        Manufacturer, ConvolutionKernel or CodingSchemeVersion; no others have such terms here.
    text
        Its value.

    Returns
    -------
    bool
    """
    if tag == _MANUFACTURER:
        return fold(text) in _MAKERS
    if tag == _CODING_SCHEME_VERSION:
        return bool(_VERSION.fullmatch(text.strip("\0 ")))
    return tag == _KERNEL_TAG and bool(_KERNEL.fullmatch(text.strip()))
