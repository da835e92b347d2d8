"""Public words and UIDs: known to everybody, so that they identify nobody."""

from __future__ import annotations

import re

from .identifiers import fold

# DICOM's own (PS3.6 Annex A): SOP classes, transfer syntaxes, well-known instances.
STANDARD_UID = "1.2.840.10008."
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


def is_term(tag: int, text: str) -> bool:
    """Say whether a text is a maker of equipment or a reconstruction kernel, in its place."""
    if tag == _MANUFACTURER:
        return fold(text) in _MAKERS
    return tag == _KERNEL_TAG and bool(_KERNEL.fullmatch(text.strip()))
