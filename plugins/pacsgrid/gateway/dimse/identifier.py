"""C-FIND, C-GET and C-MOVE identifiers: what is asked for, and answers to it (PS3.4 C.4)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from pacsgrid.gateway.dimse.contexts import IMPLICIT
from pacsgrid.pipeline.attributes import Json
from pacsgrid.pipeline.jsonmodel import data_element

LEVEL, CHARACTER_SET, RETRIEVE_AE = "00080052", "00080005", "00080054"
_NO_KEYS = {LEVEL, CHARACTER_SET, RETRIEVE_AE, "00080053", "00080001", "00080201"}
_UTF8 = "ISO_IR 192"
_MOST_DEPTH = 4
_MOST_KEYS = 512
_MOST_VALUES = 10_000  # of all keys; a list of UIDs to retrieve may be long


class NotUnderstood(Exception):
    """The identifier cannot be read, or does not say what the service needs."""


class TooMuch(NotUnderstood):
    """The identifier has more keys or values than any query has a use for."""


@dataclass(frozen=True)
class Identifier:
    """What a peer asks for.

    Attributes
    ----------
    level
        Query/Retrieve Level (0008,0052).
    keys
        Values to match by tag, those in sequences by the tags from the outermost with dots;
        empty ones are only to be answered.
    asked
        The elements that were asked for.
    character_set
        Specific Character Set (0008,0005) that the peer writes, "" for the default.
    """

    level: str
    keys: Mapping[str, str]
    asked: Dataset
    character_set: str


def parse(data: bytes, syntax: str) -> Identifier:
    """Read an identifier; raises NotUnderstood, TooMuch."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            asked = read_dataset(BytesIO(data), syntax == IMPLICIT, True)
            keys = _bounded(_keys(asked, "", 0))
            level = str(asked.get("QueryRetrieveLevel") or "").strip()
            sets = asked.get("SpecificCharacterSet") or ""
            several = isinstance(sets, str)
            character_set = str(sets) if several else "\\".join(str(one) for one in sets)
    except TooMuch:
        raise
    except Exception as error:  # pydicom raises what it likes for malformed data
        raise NotUnderstood(f"an identifier cannot be read: {type(error).__name__}") from None
    return Identifier(level, keys, asked, character_set)


def _bounded(keys: Iterator[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    values = 0
    for tag, value in keys:
        found[tag] = value
        values += 1 + value.count("\\") + value.count(",")
        if len(found) > _MOST_KEYS or values > _MOST_VALUES:
            raise TooMuch("an identifier has too many keys or values; ask for less at once")
    return found


def _keys(asked: Dataset, path: str, depth: int) -> Iterator[tuple[str, str]]:
    for element in asked:
        tag = f"{int(element.tag):08X}"
        if element.tag.element == 0 or (not path and tag in _NO_KEYS):
            continue
        if element.VR == "SQ":
            if len(element.value) and depth < _MOST_DEPTH:
                yield from _keys(element.value[0], f"{path}{tag}.", depth + 1)
            else:
                yield f"{path}{tag}", ""
        else:
            yield f"{path}{tag}", _text(element.value)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("latin-1").strip("\0 ")
    if isinstance(value, MultiValue):
        return "\\".join(str(one) for one in value)
    return str(value).strip("\0")


def answer(asked: Identifier, known: Json, ae_title: str, syntax: str) -> bytes:
    """Encode an answer: what was asked for, its values as far as they are known.

    Parameters
    ----------
    known
        Attributes in the DICOM JSON model (PS3.18 F.2).
    """
    data = _chosen(asked.asked, known)
    data.QueryRetrieveLevel = asked.level
    data.RetrieveAETitle = ae_title
    for character_set in dict.fromkeys(("", asked.character_set, _UTF8)):
        data.SpecificCharacterSet = character_set or None
        if not character_set and "SpecificCharacterSet" not in asked.asked:
            del data.SpecificCharacterSet
        encoded = encode(data, syntax)
        if encoded is not None:
            return encoded
    raise NotUnderstood("an answer cannot be encoded")


def _chosen(asked: Dataset, known: Json) -> Dataset:
    data = Dataset()
    for element in asked:
        tag = f"{int(element.tag):08X}"
        if element.tag.element == 0 or tag in _NO_KEYS:
            continue
        told = known.get(tag)
        if told is None or not told.get("Value"):
            empty = Sequence() if element.VR == "SQ" else None
            data.add(DataElement(element.tag, _vr(element), empty))
        elif told.get("vr") == "SQ":
            wanted = element.value[0] if element.VR == "SQ" and len(element.value) else None
            items = [
                Dataset.from_json(one) if wanted is None else _chosen(wanted, one)
                for one in told["Value"]
                if one
            ]
            data.add(DataElement(element.tag, "SQ", Sequence(items)))
        else:
            data.add(data_element(tag, told))
    return data


def _vr(element: DataElement) -> str:
    """Give the VR to answer an unknown value with: implicit VR peers cannot tell it."""
    try:
        return str(dictionary_VR(BaseTag(element.tag))).partition(" ")[0]
    except KeyError:
        return str(element.VR)


def encode(data: Dataset, syntax: str) -> bytes | None:
    """Encode a dataset; gives None when its character set lacks what its values need."""
    target = DicomBytesIO()
    target.is_implicit_VR, target.is_little_endian = syntax == IMPLICIT, True
    with warnings.catch_warnings():
        # pydicom writes question marks and warns, unless it is told to be strict.
        warnings.simplefilter("error", UserWarning)
        try:
            write_dataset(target, data)
        except (UserWarning, UnicodeError, ValueError):
            return None
    return bytes(target.getvalue())
