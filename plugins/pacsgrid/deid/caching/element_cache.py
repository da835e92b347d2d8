"""Headers rewritten element by element: elements with the same bytes are rewritten once.

The headers of a series differ in a few elements. What the profile makes of an element depends on
its own bytes and on little else: character set, SOP class, patient, and for a private element the
creator of its block. Headers that agree in these (`cache_key`) share an `ElementCache`. An element
that an earlier one of them had is copied as it was written then; only the others are decoded.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pydicom.dataelem import RawDataElement

from ...model import PatientPrint
from ..actions import MIN_IDENTIFIER_DIGITS
from ..encoder import encode_dataset
from ..header_parser import EncodedHeader, decode_elements, split_elements
from .bounded_cache import BoundedCache

_CHARACTER_SET, _SOP_UID = 0x00080005, 0x00080018
# Decoding any element may depend on these: the character set, and in implicit VR the attributes
# that tell whether numbers are signed (PS3.5 A.1).
_CONTEXT_TAGS = (_CHARACTER_SET, 0x00280100, 0x00280103)
# In addition SOP class, patient, study and series, and the attributes that the anonymiser writes
# itself, whatever the source has there: method and state of the de-identification.
_KEY_TAGS = (
    0x00080005, 0x00080016, 0x00080060, 0x00100010, 0x00100020, 0x00100021, 0x00100024,
    0x00100030, 0x00100040, 0x00120062, 0x00120063, 0x00120064, 0x0020000D, 0x0020000E,
    0x00280100, 0x00280103, 0x00280301, 0x00280302, 0x00280303,
)  # fmt: skip
# Binary numbers of one width are written as they are read.
_BINARY_VRS = frozenset(("FD", "FL", "SL", "SS", "UL", "US"))
_UNCHANGED_NUMBERS = re.compile(rb"[0-9+.eE-]+(\\[0-9+.eE-]+)* ?")
_NUMBER = rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_NUMBERS = re.compile(rb"%b(?:\\%b)* ?" % (_NUMBER, _NUMBER))
_UID_TAGS = (0x00080016, _SOP_UID, 0x0020000D, 0x0020000E)
# Three elements that are rewritten together as one code (PS3.3 8.8). They belong into an item; a
# header that has them at its top level is not rewritten element by element.
_CODE_TAGS = (0x00080100, 0x00080102, 0x00080104)
# Bytes of elements kept for each key.
_MAX_BYTES = 1 << 24


def is_cacheable(header: EncodedHeader) -> bool:
    """Return whether the elements of a header can be rewritten one by one.

    They cannot when one of the UIDs is missing, has several values or is no UI: the full rewriting
    then tells why the file is held.
    """
    elements = header.elements
    for tag in _UID_TAGS:
        data = elements.get(tag, b"")
        if len(data) <= 8 or b"\\" in data[8:] or not (header.implicit or data[4:6] == b"UI"):
            return False
    return not any(tag in elements for tag in _CODE_TAGS)


def cache_key(header: EncodedHeader) -> tuple[bytes | None, ...]:
    """Return what headers must have in common to share an `ElementCache`."""
    return tuple([header.elements.get(tag) for tag in _KEY_TAGS])


def _is_unchanged(element: Any, data: bytes) -> bool:
    """Return whether an element was left undecoded, and would be written as it was read."""
    if not isinstance(element, RawDataElement) or element.value != data[8:]:
        return False
    if element.VR in ("DS", "IS"):
        return _UNCHANGED_NUMBERS.fullmatch(element.value) is not None
    return element.VR in _BINARY_VRS


class ElementCache:
    """Rewrites headers that agree in `cache_key`.

    Parameters
    ----------
    header
        The first of them.
    patient_id
        What the subject's pseudonym is derived from.
    patient
        What the header tells of the patient.
    clean
        Applies the profile to a dataset, in place.
    declare
        Writes UIDs and the record of the de-identification into a header, in place.
    replace_uid
        Returns the pseudonym of a SOP Instance UID.

    Attributes
    ----------
    patient_id, patient
        As given.
    """

    def __init__(
        self,
        header: EncodedHeader,
        patient_id: str,
        patient: PatientPrint,
        clean: Callable[[Any], None],
        declare: Callable[[Any], None],
        replace_uid: Callable[[str], str],
    ) -> None:
        self.patient_id = patient_id
        self.patient = patient
        self._clean = clean
        self._replace_uid = replace_uid
        # Rewritten element by element; the bytes of both begin with the tag. Empty when removed.
        self._public: BoundedCache[bytes, bytes] = BoundedCache(_MAX_BYTES)
        # All private elements of a header, by the bytes of all of them.
        self._private: BoundedCache[bytes, dict[int, bytes]] = BoundedCache(_MAX_BYTES)
        # Tag and VR of elements in which a number was kept as it was.
        self._numeric: set[tuple[int, bytes]] = set()
        elements = header.elements
        self._context = {tag: elements[tag] for tag in _CONTEXT_TAGS if tag in elements}
        common = {tag: elements[tag] for tag in _KEY_TAGS if tag in elements}
        ds = decode_elements(header, {**common, _SOP_UID: elements[_SOP_UID]})
        declare(ds)
        encoded = encode_dataset(ds, header.implicit, True)
        self._declared = split_elements(encoded, header.implicit)

    def rewrite(self, header: EncodedHeader) -> dict[int, bytes]:
        """Return the encoded elements of the result, by tag."""
        made: dict[int, bytes] = {}
        new: list[int] = []
        private: list[int] = []
        public, elements = self._public, header.elements
        for tag, data in elements.items():
            if tag & 0x10000:
                private.append(tag)
            elif tag not in self._declared:
                known = public.get(data)
                if known is None and not header.implicit and self._is_number(tag, data):
                    made[tag] = data
                elif known is None:
                    new.append(tag)
                elif known:
                    made[tag] = known
        # A private element means nothing without the creator of its block (PS3.5 7.8).
        together = b"".join([elements[tag] for tag in private])
        private_made = self._private.get(together)
        if new or private_made is None:
            wanted = new if private_made is not None else [*new, *private]
            rewritten = self._rewrite_elements(header, wanted)
            if private_made is None:
                private_made = {tag: rewritten[tag] for tag in private if tag in rewritten}
                self._private.store(together, private_made, 2 * len(together))
            for tag in new:
                data = elements[tag]
                if result := public.store(data, rewritten.get(tag, b""), 2 * len(data)):
                    made[tag] = result
        made.update(private_made)
        made.update(self._declared)
        made[_SOP_UID] = self._rewrite_sop_uid(elements[_SOP_UID])
        return made

    def _rewrite_elements(self, header: EncodedHeader, tags: list[int]) -> dict[int, bytes]:
        wanted = {tag: header.elements[tag] for tag in tags}
        ds = decode_elements(header, {**self._context, **wanted})
        self._clean(ds)
        made: dict[int, bytes] = {}
        for tag, data in wanted.items():
            # Encoding it again would give the same bytes.
            if tag in ds and _is_unchanged(ds.get_item(tag), data):
                made[tag] = data
                if ds.get_item(tag).VR in ("DS", "IS") and self._is_harmless_number(data):
                    self._numeric.add((tag, data[4:6]))
                del ds[tag]
        for tag in self._context.keys() - wanted.keys() - {_CHARACTER_SET}:
            if tag in ds:
                del ds[tag]
        if len(ds) > (_CHARACTER_SET not in wanted):
            encoded = encode_dataset(ds, header.implicit, True)
            made.update(split_elements(encoded, header.implicit))
        return made

    def _is_number(self, tag: int, data: bytes) -> bool:
        """Return whether an element holds a number, where another number was kept as it was."""
        return (tag, data[4:6]) in self._numeric and self._is_harmless_number(data)

    @staticmethod
    def _is_harmless_number(data: bytes) -> bool:
        """Return whether an element holds numbers too short to be somebody's identifier."""
        short = data[4:6] == b"DS" or len(data) - 8 < MIN_IDENTIFIER_DIGITS
        return short and _NUMBERS.fullmatch(data[8:]) is not None

    def _rewrite_sop_uid(self, element: bytes) -> bytes:
        value = self._replace_uid(element[8:].strip(b"\0 ").decode("ascii")).encode()
        value += b"\0" * (len(value) % 2)
        if element[4:6] == b"UI":
            return element[:6] + len(value).to_bytes(2, "little") + value
        return element[:4] + len(value).to_bytes(4, "little") + value
