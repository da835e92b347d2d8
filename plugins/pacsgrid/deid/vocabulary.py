"""Public words and UIDs: known to everybody, so that they identify nobody."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from .folding import fold

# DICOM's own (PS3.6 Annex A): SOP classes, transfer syntaxes, well-known instances.
STANDARD_UID = "1.2.840.10008."
_MANUFACTURER, _KERNEL_TAG, _RESCALE_TYPE = 0x00080070, 0x00181210, 0x00281054
# PS3.3 C.11.1.1.2; of a CT image it must be HU.
_RESCALE_TYPES = frozenset(("OD", "HU", "US", "MGML", "Z_EFF", "ED", "EDW", "HU_MOD", "PCT"))
_MAKERS = frozenset(
    {"agfa", "canon medical systems", "carestream", "carestream health", "esaote", "fujifilm",
     "fujifilm corporation", "fuji photo film co ltd", "ge healthcare", "ge medical systems",
     "hitachi", "hitachi medical corporation", "hologic inc", "konica minolta", "mindray",
     "philips", "philips healthcare", "philips medical systems", "samsung medison co ltd",
     "shimadzu", "siemens", "siemens healthineers", "siemens health services", "toshiba",
     "toshiba mec", "varian medical systems", "elekta", "brainlab", "accuray"}
)  # fmt: skip
_KERNEL = re.compile(r"[A-Z]{1,3}\d{1,3}[a-z]{0,2}|STANDARD|BONE|BONEPLUS|SOFT|LUNG|DETAIL|EDGE")


# ValueType, RelationshipType, ContinuityOfContent, CompletionFlag, VerificationFlag (PS3.3 C.17):
# a physician called Text must not take the structure of a report away. And
# PhotometricInterpretation (C.7.6.3.1.2), without which nothing decodes.
_TERMS = {
    0x00280004: frozenset(
        ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422",
         "YBR_ICT", "YBR_PARTIAL_420", "YBR_PARTIAL_422", "YBR_RCT", "HSV", "ARGB", "CMYK", "XYB")
    ),
    0x0040A040: frozenset(
        ("CODE", "COMPOSITE", "CONTAINER", "DATE", "DATETIME", "IMAGE", "NUM", "PNAME", "SCOORD",
         "SCOORD3D", "TABLE", "TCOORD", "TEXT", "TIME", "UIDREF", "WAVEFORM")
    ),
    0x0040A010: frozenset(
        ("CONTAINS", "HAS ACQ CONTEXT", "HAS CONCEPT MOD", "HAS OBS CONTEXT", "HAS PROPERTIES",
         "INFERRED FROM", "SELECTED FROM")
    ),
    0x0040A050: frozenset(("SEPARATE", "CONTINUOUS")),
    0x0040A491: frozenset(("PARTIAL", "COMPLETE")),
    0x0040A493: frozenset(("UNVERIFIED", "VERIFIED")),
}  # fmt: skip


def is_structure(tag: int, values: list[str]) -> bool:
    """Say whether code strings are a standard's own words, whatever a patient's name is."""
    return bool(values) and _TERMS.get(tag, frozenset()).issuperset(values)


# Short with a digit in it: T2, C5, DIS2D, 512; longer numbers may be somebody's.
_SHORT_CODE = re.compile(r"[A-Z]{1,2}|(?=.{1,5}$)[A-Z]{0,3}\d{1,3}[A-Z]{0,3}")
_STANDARDS = frozenset(("10918", "13818", "14495", "14496", "15444", "18181", "23008"))


@lru_cache(maxsize=1)
def _words() -> frozenset[str]:
    lines = Path(__file__).with_name("terms.txt").read_text("ascii").splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())


@lru_cache(maxsize=4096)
def is_code_string(value: str) -> bool:
    """Say whether a code string is made of words that code strings are made of (PS3.3).

    What attributes may hold is seldom closed: makers add terms of their own. A word that no
    defined term has, and that is longer than two letters, may be somebody's name.
    """
    return all(
        word in _words() or word in _STANDARDS or _SHORT_CODE.fullmatch(word)
        for word in re.split(r"[_ ]+", value.strip("\0 _"))
        if word
    )


def is_term(tag: int, text: str) -> bool:
    """Say whether a text is a maker, a reconstruction kernel or a unit, in its place."""
    if tag == _MANUFACTURER:
        return fold(text) in _MAKERS
    if tag == _RESCALE_TYPE:
        return text.strip("\0 ") in _RESCALE_TYPES
    return tag == _KERNEL_TAG and bool(_KERNEL.fullmatch(text.strip()))
