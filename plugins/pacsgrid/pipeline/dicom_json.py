"""Write values in the DICOM JSON model (PS3.18 F.2) so that every JSON parser can read them.

JSON has no NaN and no infinity, numbers beyond 2**53 lose digits in most parsers, and UTF-8 has no
lone surrogates. A data set may hold such values. They are written as the model allows:

- DS, IS, SV and UV as strings where a number would not have the same value (F.2.3, note)
- FL and FD that are not finite as null, the model's empty value (F.2.5); only the instance itself
  keeps them
- DS and IS that break the rules of their VR as null too
- lone surrogates as U+FFFD
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
# Every parser reads integers up to here exactly (RFC 8259 section 6).
EXACT = (1 << 53) - 1
_TEXT_NUMBERS = {"DS", "IS"}
_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


def vr_of(dataset: Dataset, tag: BaseTag) -> str:
    """Return an element's VR without converting its value.

    Parameters
    ----------
    dataset
        The data set.
    tag
        A tag that it has.

    Returns
    -------
    str
        Two letters; ``UN`` for a private or unknown element without a VR.
    """
    vr = dataset.get_item(tag).VR
    if vr:
        return str(vr)
    try:
        known = dictionary_VR(tag)
    except KeyError:
        return "UN"
    return "OW" if " or " in known else known


def element_to_json(dataset: Dataset, tag: BaseTag) -> Json:
    """Return an element of the model: its VR, and its value if it has one.

    Parameters
    ----------
    dataset
        The data set.
    tag
        A tag that it has; not of a sequence.

    Returns
    -------
    dict
        ``vr``, and ``Value`` or ``InlineBinary`` if it has a value.

    Raises
    ------
    Exception
        Whatever pydicom raises for a value that breaks its VR's rules.
    """
    vr = vr_of(dataset, tag)
    if vr in _TEXT_NUMBERS:
        return _valued(vr, [_number(vr, text) for text in _texts(dataset, tag)])
    attribute: Json = dataset[tag].to_json_dict(None, 1 << 30)
    attribute["vr"] = str(attribute["vr"])
    return _valued(attribute["vr"], attribute["Value"]) if "Value" in attribute else attribute


def make_portable(attributes: Mapping[str, Any]) -> Json:
    """Return attributes of the model from another program, as `element_to_json` would return them.

    What is not an attribute is left out.
    """
    found: Json = {}
    for tag, attribute in attributes.items():
        vr = attribute.get("vr") if isinstance(attribute, dict) else None
        if not _TAG.fullmatch(tag) or not isinstance(vr, str) or not _VR.fullmatch(vr):
            continue
        values = attribute.get("Value", [])
        if not isinstance(values, list):
            continue
        if values and vr == "SQ":
            items = [make_portable(item) for item in values if isinstance(item, dict)]
            found[tag] = {"vr": "SQ", **({"Value": items} if items else {})}
        elif values:
            found[tag] = _valued(vr, values)
        elif isinstance(inline := attribute.get("InlineBinary"), str):
            found[tag] = {"vr": vr, "InlineBinary": _replace_surrogates(inline)}
        else:
            found[tag] = {"vr": vr}
    return found


def _replace_surrogates(value: str) -> str:
    """Return a text with its lone surrogates replaced, so that it can be written in UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def _texts(dataset: Dataset, tag: BaseTag) -> list[str]:
    """Return the values of a DS or IS as they are written; pydicom may have rounded them."""
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
        # int() refuses very long digits; those stay a string.
        exact = len(written) < 18 and abs(int(written)) <= EXACT
        return int(written) if exact else written
    if not _DECIMAL.fullmatch(written):
        return None
    number = float(written)
    # An IS of 1.5 is not an integer, and 1 would be another value: keep the text.
    return number if vr == "DS" and math.isfinite(number) else written


def _valued(vr: str, values: list[Any]) -> Json:
    given = [_value(vr, one) for one in values]
    return {"vr": vr, "Value": given} if any(one is not None for one in given) else {"vr": vr}


def _value(vr: str, value: Any) -> Any:
    if isinstance(value, str):
        return _replace_surrogates(value) or None
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        if abs(value) <= EXACT:
            return value
        # DICOM has at most 64 bits, and Python refuses to write very long integers.
        return str(value) if value.bit_length() <= 64 else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict) and vr == "PN":
        groups = {name: value.get(name) for name in _NAME_GROUPS}
        kept = {
            name: _replace_surrogates(one)
            for name, one in groups.items()
            if one and isinstance(one, str)
        }
        return kept or None
    return None


def element_from_json(tag: str, attribute: Mapping[str, Any]) -> DataElement:
    """Return an element as DIMSE encodes it; values that its VR cannot hold are empty.

    Parameters
    ----------
    tag
        The tag in eight hex digits.
    attribute
        An attribute of the model with a value, as `element_to_json` and `make_portable` return it.

    Returns
    -------
    pydicom.DataElement
        The element.
    """
    vr = str(attribute["vr"])
    values = [_encodable(vr, one) for one in attribute["Value"]]
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
