"""The columns of a release's tables: what each holds, and how it is read from an attribute."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from pydicom.datadict import dictionary_description, dictionary_VM, dictionary_VR, keyword_for_tag

from pacsgrid.pipeline.attributes import INSTANCE, SERIES, STUDY, Json

Kind = Literal["text", "integer", "number", "date"]
# PS3.5 6.2; every other VR is text.
_KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(("IS", "US", "SS", "UL", "SL", "UV", "SV"), "integer"),
    **dict.fromkeys(("DS", "FL", "FD"), "number"),
    "DA": "date",
}
# Named by columns of our own, or without a meaning outside of their instance.
_KEYS = {"0020000D", "0020000E", "00080018", "00080060"}
_NO_COMMON_VALUE = {"00080018", "00200013"}


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes
    ----------
    name
        Its name; the attribute's keyword (PS3.6) where it holds one.
    kind
        What its values are.
    about
        What it holds, in a sentence.
    many
        Whether a cell holds a list of values.
    tag
        The tag of the attribute that it holds, in eight hex digits; empty for none.
    vr
        The attribute's value representation.
    """

    name: str
    kind: Kind
    about: str
    many: bool = False
    tag: str = ""
    vr: str = ""

    def read(self, attributes: Json) -> Any:
        """Return the cell for an instance's attributes; None where they have no fitting value.

        Parameters
        ----------
        attributes
            Attributes in the DICOM JSON model (PS3.18 F.2), by tag.
        """
        values = attributes.get(self.tag, {}).get("Value") or []
        if self.vr == "SQ":
            return json.dumps(values, ensure_ascii=False, sort_keys=True) if values else None
        read = [_scalar(self.kind, one) for one in values]
        if self.many:
            return read if any(one is not None for one in read) else None
        if len(read) == 1:
            return read[0]
        # More values than PS3.6 allows.
        return "\\".join(str(one) for one in read) if read and self.kind == "text" else None


def _scalar(kind: Kind, value: Any) -> Any:
    try:
        if kind == "integer":
            return int(value)
        if kind == "number":
            return float(value)
        if kind == "date":
            return date.fromisoformat(f"{value[:4]}-{value[4:6]}-{value[6:]}")
    except (ValueError, TypeError, OverflowError):
        return None
    if isinstance(value, Mapping):  # a person's name (PS3.18 F.2.2)
        value = next(iter(value.values()), None)
    return None if value is None else str(value)


def _attributes(tags: Iterable[str], note: str = "") -> tuple[Column, ...]:
    found = []
    for tag in sorted(tags):
        number = int(tag, 16)
        vr = dictionary_VR(number).split(" ")[0]
        found.append(
            Column(
                keyword_for_tag(number),
                _KINDS.get(vr, "text"),
                dictionary_description(number) + (", as JSON" if vr == "SQ" else "") + note,
                dictionary_VM(number) != "1" and vr != "SQ",
                tag,
                vr,
            )
        )
    return tuple(found)


SUBJECT = Column("subject", "text", "Pseudonym of the patient")
STUDY_UID = Column("StudyInstanceUID", "text", "UID of the study, a pseudonym", tag="0020000D")
SERIES_UID = Column("SeriesInstanceUID", "text", "UID of the series, a pseudonym", tag="0020000E")
SOP_UID = Column("SOPInstanceUID", "text", "UID of the instance, a pseudonym", tag="00080018")
MODALITY = Column("Modality", "text", "Modality", tag="00080060")

COMMON = _attributes(
    INSTANCE - _NO_COMMON_VALUE, "; empty where the instances of the series differ"
)
SERIES_ATTRIBUTES = _attributes(STUDY - _KEYS) + _attributes(SERIES - _KEYS)
SERIES_COLUMNS = (
    SUBJECT,
    STUDY_UID,
    SERIES_UID,
    MODALITY,
    Column("instances", "integer", "How many instances of the series the release lists"),
    Column("bytes", "integer", "Their size in bytes"),
    Column("path", "text", "Folder of the series in a fetched release"),
    Column("collection", "text", "Collection of the series in the zone"),
    *SERIES_ATTRIBUTES,
    *COMMON,
)
INSTANCE_ATTRIBUTES = _attributes(INSTANCE - _KEYS)
INSTANCE_COLUMNS = (
    SUBJECT,
    STUDY_UID,
    SERIES_UID,
    SOP_UID,
    MODALITY,
    Column("bytes", "integer", "Size of the file in bytes"),
    Column("sha256", "text", "SHA-256 of the file, in hex"),
    Column("path", "text", "File of the instance in a fetched release"),
    *INSTANCE_ATTRIBUTES,
)
