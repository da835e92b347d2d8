"""Values in the DICOM JSON model (PS3.18 F.2), as every JSON parser takes them.

JSON has no NaN and no infinity, and numbers beyond 2**53 lose digits in most parsers; UTF-8 has no
lone surrogates. What a data set may hold all the same is given as the model allows it:

- DS, IS, SV and UV as strings where a number would not be the same (F.2.3, note)
- FL and FD that are no finite number as null, the model's empty value (F.2.5); the instance itself
  has them
- DS and IS that break the rules of their VR as null too
- characters that are none as U+FFFD
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

Json = dict[str, Any]

_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_TAG = re.compile(r"[0-9A-F]{8}", re.ASCII)
_VR = re.compile(r"[A-Z]{2}", re.ASCII)
# Integers up to here are the same in every parser (RFC 8259 section 6).
EXACT = (1 << 53) - 1
_TEXT_NUMBERS = {"DS", "IS"}
_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


def vr_of(dataset: Dataset, tag: BaseTag) -> str:
    """Return an element's VR, without reading its value."""
    vr = dataset.get_item(tag).VR
    if vr:
        return str(vr)
    try:
        known = dictionary_VR(tag)
    except KeyError:
        return "UN"
    return "OW" if " or " in known else known


def element(dataset: Dataset, tag: BaseTag) -> Json:
    """Return one element, not a sequence, with its VR and what it has of a value.

    Raises
    ------
    Exception
        Whatever pydicom makes of a value that breaks its VR's rules.
    """
    vr = vr_of(dataset, tag)
    if vr in _TEXT_NUMBERS:
        return _valued(vr, [_number(vr, text) for text in _texts(dataset, tag)])
    told: Json = dataset[tag].to_json_dict(None, 1 << 30)
    told["vr"] = str(told["vr"])
    return _valued(told["vr"], told["Value"]) if "Value" in told else told


def portable(attributes: Mapping[str, Any]) -> Json:
    """Return attributes of the model that came from elsewhere, as `element` would give them.

    What is no attribute is left out.
    """
    found: Json = {}
    for tag, told in attributes.items():
        vr = told.get("vr") if isinstance(told, dict) else None
        if not _TAG.fullmatch(tag) or not isinstance(vr, str) or not _VR.fullmatch(vr):
            continue
        values = told.get("Value", [])
        if not isinstance(values, list):
            continue
        if values and vr == "SQ":
            items = [portable(item) for item in values if isinstance(item, dict)]
            found[tag] = {"vr": "SQ", "Value": items}
        elif values:
            found[tag] = _valued(vr, values)
        elif isinstance(inline := told.get("InlineBinary"), str):
            found[tag] = {"vr": vr, "InlineBinary": text(inline)}
        else:
            found[tag] = {"vr": vr}
    return found


def text(value: str) -> str:
    """Return text that UTF-8 can hold."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def _texts(dataset: Dataset, tag: BaseTag) -> list[str]:
    """Return the values of a DS or IS as they are written; what pydicom read may differ."""
    raw = dataset.get_item(tag)
    if isinstance(raw, RawDataElement):
        written = (raw.value or b"").decode("latin-1")
        return written.split("\\") if written.strip(" \0") else []
    value = raw.value
    if value is None or value == "":
        return []
    values = value if isinstance(value, list) or hasattr(value, "insert") else [value]
    return [str(getattr(one, "original_string", None) or one) for one in values]


def _number(vr: str, written: str) -> int | float | str | None:
    written = written.strip(" \0")
    if vr == "IS" and _INTEGER.fullmatch(written):
        # Digits that int() would refuse to read are kept as they are.
        exact = len(written) < 18 and abs(int(written)) <= EXACT
        return int(written) if exact else written
    if not _DECIMAL.fullmatch(written):
        return None
    number = float(written)
    # An IS of 1.5 is none, and 1 would be another value.
    return number if vr == "DS" and math.isfinite(number) else written


def _valued(vr: str, values: list[Any]) -> Json:
    given = [_value(vr, one) for one in values]
    return {"vr": vr, "Value": given} if any(one is not None for one in given) else {"vr": vr}


def _value(vr: str, value: Any) -> Any:
    if isinstance(value, str):
        return text(value) or None
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        if abs(value) <= EXACT:
            return value
        # The longest DICOM has are of 64 bits; longer ones Python does not even write.
        return str(value) if value.bit_length() <= 64 else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict) and vr == "PN":
        groups = {name: value.get(name) for name in _NAME_GROUPS}
        kept = {name: text(one) for name, one in groups.items() if one and isinstance(one, str)}
        return kept or None
    return None


def data_element(tag: str, told: Mapping[str, Any]) -> DataElement:
    """Return an element as DIMSE encodes it; what its VR cannot hold is empty.

    Parameters
    ----------
    tag
        In eight hex digits.
    told
        An attribute of the model with a value, as `element` and `portable` give it.
    """
    vr = str(told["vr"])
    values = [_encodable(vr, one) for one in told["Value"]]
    if vr in _TEXT_NUMBERS:
        return DataElement(int(tag, 16), vr, values if len(values) > 1 else values[0])
    return DataElement.from_json(Dataset, tag, vr, values, "Value")


def _encodable(vr: str, value: Any) -> Any:
    if vr in ("FL", "FD") and value is None:
        return math.nan
    if vr == "PN" or not isinstance(value, str):
        return "" if value is None and vr != "PN" else value
    if vr == "DS":
        fits = _DECIMAL.fullmatch(value) and math.isfinite(float(value)) and len(value) <= 16
        return value if fits else ""
    return value if vr != "IS" or (_INTEGER.fullmatch(value) and len(value) <= 12) else ""
