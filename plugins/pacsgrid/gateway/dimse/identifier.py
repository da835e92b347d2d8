"""Identifiers of C-FIND, C-GET and C-MOVE: parse requests, encode answers (PS3.4 C.4)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from pacsgrid.dimse.presentation_contexts import IMPLICIT
from pacsgrid.pipeline.attributes import Json
from pacsgrid.pipeline.dicom_json import element_from_json

LEVEL, CHARACTER_SET, RETRIEVE_AE = "00080052", "00080005", "00080054"
_NO_KEYS = {LEVEL, CHARACTER_SET, RETRIEVE_AE, "00080053", "00080001", "00080201"}
_UTF8 = "ISO_IR 192"
_MOST_DEPTH = 4
_MOST_KEYS = 512
_MOST_VALUES = 10_000  # of all keys; a list of UIDs to retrieve may be long


class InvalidIdentifierError(Exception):
    """The identifier cannot be read, or lacks what the service needs."""


class IdentifierTooLargeError(InvalidIdentifierError):
    """The identifier has more keys or values than any query needs."""


@dataclass(frozen=True)
class Identifier:
    """A parsed identifier.

    Attributes
    ----------
    level
        Query/Retrieve Level (0008,0052).
    keys
        Values to match by tag; in sequences, tags are joined with dots, the outermost first. Keys
        without a value are only to be returned.
    requested
        The elements to return.
    character_set
        Specific Character Set (0008,0005) of the peer, "" for the default.
    """

    level: str
    keys: Mapping[str, str]
    requested: Dataset
    character_set: str


def parse(data: bytes, syntax: str) -> Identifier:
    """Parse an encoded identifier.

    Parameters
    ----------
    data
        The encoded dataset.
    syntax
        Transfer syntax UID of its presentation context.

    Raises
    ------
    InvalidIdentifierError
        It is malformed.
    IdentifierTooLargeError
        It has too many keys or values.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            requested = read_dataset(BytesIO(data), syntax == IMPLICIT, True)
            keys = _bounded(_keys(requested, "", 0))
            level = str(requested.get("QueryRetrieveLevel") or "").strip()
            sets = requested.get("SpecificCharacterSet") or ""
            single = isinstance(sets, str)
            character_set = str(sets) if single else "\\".join(str(one) for one in sets)
    except IdentifierTooLargeError:
        raise
    except Exception as error:  # pydicom raises any type of exception for malformed data
        raise InvalidIdentifierError(
            f"an identifier cannot be read: {type(error).__name__}"
        ) from None
    return Identifier(level, keys, requested, character_set)


def _bounded(keys: Iterator[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    values = 0
    for tag, value in keys:
        found[tag] = value
        values += 1 + value.count("\\") + value.count(",")
        if len(found) > _MOST_KEYS or values > _MOST_VALUES:
            raise IdentifierTooLargeError(
                "an identifier has too many keys or values; query less at once"
            )
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


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("latin-1").strip("\0 ")
    if isinstance(value, MultiValue):
        return "\\".join(str(one) for one in value)
    return str(value).strip("\0")


def encode_answer(asked: Identifier, known: Json, ae_title: str, syntax: str) -> bytes:
    """Encode a C-FIND answer: the elements that were asked for, with the values that are known.

    Parameters
    ----------
    asked
        The request's identifier.
    known
        The match's attributes in the DICOM JSON model (PS3.18 section F.2).
    ae_title
        The gateway's AE title, to retrieve from.
    syntax
        Transfer syntax UID of the presentation context.

    Returns
    -------
    bytes
        The dataset, in the peer's character set if that has all characters, else in UTF-8.

    Raises
    ------
    InvalidIdentifierError
        It cannot be encoded.
    """
    data = _with_values(asked.requested, known)
    data.QueryRetrieveLevel = asked.level
    data.RetrieveAETitle = ae_title
    for character_set in dict.fromkeys(("", asked.character_set, _UTF8)):
        data.SpecificCharacterSet = character_set or None
        if not character_set and "SpecificCharacterSet" not in asked.requested:
            del data.SpecificCharacterSet
        encoded = encode(data, syntax)
        if encoded is not None:
            return encoded
    raise InvalidIdentifierError("an answer cannot be encoded")


def _with_values(requested: Dataset, known: Json) -> Dataset:
    """Return the requested elements with their known values; the others are empty."""
    data = Dataset()
    for element in requested:
        tag = f"{int(element.tag):08X}"
        if element.tag.element == 0 or tag in _NO_KEYS:
            continue
        attribute = known.get(tag)
        if attribute is None or not attribute.get("Value"):
            empty = Sequence() if element.VR == "SQ" else None
            data.add(DataElement(element.tag, _vr(element), empty))
        elif attribute.get("vr") == "SQ":
            wanted = element.value[0] if element.VR == "SQ" and len(element.value) else None
            items = [
                Dataset.from_json(one) if wanted is None else _with_values(wanted, one)
                for one in attribute["Value"]
                if one
            ]
            data.add(DataElement(element.tag, "SQ", Sequence(items)))
        else:
            data.add(element_from_json(tag, attribute))
    return data


def _vr(element: DataElement) -> str:
    """Return the VR for an empty answer: a request in implicit VR does not say it."""
    try:
        return str(dictionary_VR(BaseTag(element.tag))).partition(" ")[0]
    except KeyError:
        return str(element.VR)


def encode(data: Dataset, syntax: str) -> bytes | None:
    """Encode a dataset.

    Parameters
    ----------
    data
        The dataset.
    syntax
        Transfer syntax UID: Implicit or Explicit VR Little Endian.

    Returns
    -------
    bytes or None
        None if its character set lacks characters of its values.
    """
    target = DicomBytesIO()
    target.is_implicit_VR, target.is_little_endian = syntax == IMPLICIT, True
    with warnings.catch_warnings():
        # Without this pydicom writes question marks and warns.
        warnings.simplefilter("error", UserWarning)
        try:
            write_dataset(target, data)
        except (UserWarning, UnicodeError, ValueError):
            return None
    return bytes(target.getvalue())
