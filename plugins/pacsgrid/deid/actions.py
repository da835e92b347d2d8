"""What happens to one element: the table's action, options applied, carried out at any depth."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from .codes import clean_code
from .identifiers import StudyIdentifiers, fold
from .profile import Profile
from .pseudonyms import Pseudonyms
from .table import rule_for

TEXT = frozenset({"LO", "SH", "ST", "LT", "UT", "UC", "PN", "AE", "UR"})
TIMES = frozenset({"DA", "DT", "TM", "AS"})
# DICOM's own UIDs: SOP classes, transfer syntaxes, well-known instances (PS3.6 Annex A).
STANDARD_UID = "1.2.840.10008."
_DUMMY: dict[str, Any] = {
    "AE": "REMOVED", "AS": "000Y", "CS": "REMOVED", "DA": "19000101", "DS": "0", "DT": "19000101",
    "IS": "0", "LO": "REMOVED", "LT": "REMOVED", "PN": "REMOVED", "SH": "REMOVED",
    "ST": "REMOVED", "TM": "000000", "UC": "REMOVED", "UT": "REMOVED", "UR": "urn:removed",
    "FL": 0.0, "FD": 0.0, "SL": 0, "SS": 0, "UL": 0, "US": 0, "SV": 0, "UV": 0,
    "OB": b"\0\0", "OW": b"\0\0", "UN": b"",
}  # fmt: skip
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_CS = re.compile(r"[A-Z0-9_ ]{0,16}")
# Makers of equipment: the one text without a row in the table that research cannot do without.
_MAKERS = frozenset(
    {"agfa", "canon medical systems", "carestream", "carestream health", "esaote", "fujifilm",
     "fujifilm corporation", "fuji photo film co ltd", "ge healthcare", "ge medical systems",
     "hitachi", "hitachi medical corporation", "hologic inc", "konica minolta", "mindray",
     "philips", "philips healthcare", "philips medical systems", "samsung medison co ltd",
     "shimadzu", "siemens", "siemens healthineers", "siemens health services", "toshiba",
     "toshiba mec", "varian medical systems", "elekta", "brainlab", "accuray"}
)  # fmt: skip
_KERNEL = re.compile(r"[A-Z]{1,3}\d{1,3}[a-z]{0,2}|STANDARD|BONE|BONEPLUS|SOFT|LUNG|DETAIL|EDGE")
_MANUFACTURER, _KERNEL_TAG = 0x00080070, 0x00181210
# ValueType, RelationshipType, ContinuityOfContent, CompletionFlag, VerificationFlag (PS3.3 C.17):
# a physician called Text must not take the structure of a report away.
_REPORT_TERMS = {
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
_IDENTIFYING_SHAPE = re.compile(r"\d{4,}|\d+[./-]\d+|@|https?:|\^")


@dataclass(frozen=True)
class Context:
    """What the actions of one instance share."""

    pseudonyms: Pseudonyms
    profile: Profile
    identifiers: StudyIdentifiers
    patient_id: str
    shift: int


def action_for(tag: int, vr: str, profile: Profile) -> str:
    """Return the action for an element: X, Z, D, U, K, C, or a rule of our own.

    ``text``, ``time``, ``enum``, ``number`` and ``walk`` are what becomes of a standard
    element without a row in the table, by its VR: what can carry text is not trusted.
    """
    if tag in profile.overrides:
        return profile.overrides[tag]
    rule = rule_for(tag)
    if rule is not None:
        for option in sorted(profile.options & rule.options.keys()):
            return rule.options[option]
        # Of a choice the one that leaves a type 1 or 2 attribute valid, whatever the IOD.
        for choice in ("U", "D", "Z", "X", "C", "K"):
            if choice in rule.basic:
                return choice
    if vr == "SQ":
        return "walk"
    if vr == "UI":
        return "U"
    if vr in TEXT:
        return "text"
    if vr in TIMES:
        return "C" if "modified" in profile.options else "K" if "full" in profile.options else "X"
    if vr == "CS":
        return "enum"
    if vr in ("IS", "DS"):
        return "number"
    return "X" if vr == "UN" else "K"


def clean_dataset(ds: Dataset, context: Context) -> None:
    """Apply the profile to every element of a dataset, in place, nested ones included."""
    clean_code(ds, context.pseudonyms)
    for tag in list(ds.keys()):
        if tag.is_private:
            if not _safe_private(ds, tag, context.profile):
                del ds[tag]
            continue
        if tag.element == 0:
            del ds[tag]
            continue
        element = ds[tag]
        _apply(ds, element, action_for(int(tag), element.VR, context.profile), context)


def _safe_private(ds: Dataset, tag: Any, profile: Profile) -> bool:
    if tag.is_private_creator:
        creator = str(ds[tag].value)
        return any(c == creator and g == tag.group for c, g, _ in profile.safe_private)
    creator = str(ds.get((tag.group, tag.element >> 8), DataElement(tag, "LO", "")).value)
    if (creator, tag.group, tag.element & 0xFF) not in profile.safe_private:
        return False
    # Safe by name is not enough for text: only numbers and binary values are kept as they are.
    return ds[tag].VR not in TEXT | TIMES | {"SQ", "UI", "UN"}


def _apply(ds: Dataset, element: DataElement, action: str, context: Context) -> None:
    tag, vr = element.tag, element.VR
    if vr == "SQ":
        if action == "X":
            del ds[tag]
        elif action == "Z":
            element.value = Sequence()
        else:
            for item in element.value or []:
                clean_dataset(item, context)
        return
    if action == "X":
        del ds[tag]
    elif action == "Z":
        element.value = None
    elif action == "D":
        element.value = _DUMMY.get(vr)
    elif action == "U" and vr == "UI":
        element.value = _each(element.value, lambda uid: new_uid(uid, context.pseudonyms))
    elif action == "C" and vr in TIMES:
        element.value = _each(element.value, lambda value: shift(value, vr, context.shift))
    elif action in ("C", "text", "U"):
        if not _harmless(int(tag), element.value, action, context):
            # Emptied, not deleted: a type 2 attribute stays present.
            element.value = None
    elif action == "enum":
        values = _strings(element.value)
        legal = all(_CS.fullmatch(value) for value in values)
        # Group 0028 describes the pixels: its terms are fixed, and without them nothing decodes.
        structure = tag.group == 0x0028 or _REPORT_TERMS.get(int(tag), frozenset()).issuperset(
            values
        )
        named = not structure and context.identifiers.found_in(" ".join(values))
        if named or not legal:
            element.value = None
    elif (
        action == "number"
        and not all(_NUMBER.fullmatch(value.strip()) for value in _strings(element.value))
    ) or (
        action == "K"
        and vr in TEXT
        and context.identifiers.found_in(" ".join(_strings(element.value)))
    ):
        element.value = None


def _harmless(tag: int, value: Any, action: str, context: Context) -> bool:
    values = _strings(value)
    if context.identifiers.found_in(" ".join(values)):
        return False
    if action == "C":
        return not any(_IDENTIFYING_SHAPE.search(text) for text in values)
    if tag == _MANUFACTURER:
        return all(fold(text) in _MAKERS for text in values)
    if tag == _KERNEL_TAG:
        return all(_KERNEL.fullmatch(text) for text in values)
    # A code that `clean_code` has put right already; a URN version of it is text.
    return tag in (0x00080100, 0x00080102, 0x00080104)


def _strings(value: Any) -> list[str]:
    if value is None or value == "":
        return []
    if isinstance(value, str) or not hasattr(value, "__iter__") or hasattr(value, "components"):
        return [str(value)]
    return [str(item) for item in value]


def _each(value: Any, change: Any) -> Any:
    texts = [change(text) if text else text for text in _strings(value)]
    return texts if len(texts) > 1 else texts[0] if texts else None


def new_uid(uid: str, pseudonyms: Pseudonyms) -> str:
    """Return the pseudonym of a UID; DICOM's own stay."""
    return uid if uid.startswith(STANDARD_UID) else pseudonyms.uid(uid)


def shift(value: str, vr: str, days: int) -> str:
    """Shift a DA or DT by whole days; times and ages stay, what is no date goes (PS3.5 6.2)."""
    text = value.strip()
    if vr == "TM":
        return text if re.fullmatch(r"\d{2,6}(\.\d{1,6})?", text) else ""
    if vr == "AS":
        return text if re.fullmatch(r"\d{3}[DWMY]", text) else ""
    match = re.fullmatch(r"(\d{8})(\d{0,6}(?:\.\d{1,6})?(?:[+-]\d{4})?)", text)
    if match is None or (vr == "DA" and match[2]):
        return ""  # a partial date cannot be shifted by days without lying
    try:
        moved = datetime.strptime(match[1], "%Y%m%d") + timedelta(days=days)
    except (ValueError, OverflowError):
        return ""
    return f"{moved:%Y%m%d}{match[2]}"
