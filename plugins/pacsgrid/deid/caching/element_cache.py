"""A study's headers differ in a few elements: what became of the others is remembered.

What the actions make of an element depends on its own bytes and on little else: the character
set, the SOP class, the patient, and for a private element on its group. An element that had the
same bytes in an earlier file of the study is taken over as it was written then.
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

# What every element's rewriting may depend on: the character set, and the meaning of binary
# numbers in implicit VR.
_CHARSET, _SOP_UID = 0x00080005, 0x00080018
_CONTEXT_TAGS = (_CHARSET, 0x00280100, 0x00280103)
# With it SOP class, patient and study, and what the anonymiser writes on its own account,
# whatever stood there: method and state of the de-identification.
_KEY_TAGS = (
    0x00080005, 0x00080016, 0x00080060, 0x00100010, 0x00100020, 0x00100021, 0x00100024,
    0x00100030, 0x00100040, 0x00120062, 0x00120063, 0x00120064, 0x0020000D, 0x0020000E,
    0x00280100, 0x00280103, 0x00280301, 0x00280302, 0x00280303,
)  # fmt: skip
# Binary numbers of one width; written as they are read.
_BINARY = frozenset(("FD", "FL", "SL", "SS", "UL", "US"))
_PLAIN_NUMBERS = re.compile(rb"[0-9+.eE-]+(\\[0-9+.eE-]+)* ?")
_NUMBER = rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_NUMBERS = re.compile(rb"%b(?:\\%b)* ?" % (_NUMBER, _NUMBER))
_UIDS = (0x00080016, _SOP_UID, 0x0020000D, 0x0020000E)
# Three elements that make one coded entry: no dataset has them, an item does.
_CODE_TAGS = (0x00080100, 0x00080102, 0x00080104)
# Values kept at most; a study seldom has a tenth of them.
_MAX_VALUES = 100_000


def is_cacheable(parts: EncodedHeader) -> bool:
    """Say whether the elements of a header can be rewritten one by one."""
    named = all(len(parts.elements.get(tag, b"")) > 8 for tag in _UIDS)
    # What is no UID, or several of them, is refused on the long way.
    plain = named and not any(
        b"\\" in (data := parts.elements[tag])[8:] or not (parts.implicit or data[4:6] == b"UI")
        for tag in _UIDS
    )
    return plain and not any(tag in parts.elements for tag in _CODE_TAGS)


def cache_key(parts: EncodedHeader) -> tuple[bytes | None, ...]:
    """Return what files must have in common to share a `ElementCache`."""
    return tuple([parts.elements.get(tag) for tag in _KEY_TAGS])


def _is_unchanged(element: Any, data: bytes) -> bool:
    """Say whether an element was not even decoded, and holds nothing that writing would change."""
    if not isinstance(element, RawDataElement) or element.value != data[8:]:
        return False
    if element.VR in ("DS", "IS"):
        return _PLAIN_NUMBERS.fullmatch(element.value) is not None
    return element.VR in _BINARY


class ElementCache:
    """Rewrites headers that have what `cache_key` names in common.

    Parameters
    ----------
    parts
        The first of them.
    patient_id
        What the subject derives from.
    patient
        What the header tells of the patient.
    clean
        Applies the profile to a dataset, in place.
    own
        Writes into a cleaned header its UIDs and what was done.
    sop_uid
        Gives a SOPInstanceUID as it is written.
    """

    def __init__(
        self,
        parts: EncodedHeader,
        patient_id: str,
        patient: PatientPrint,
        clean: Callable[[Any], None],
        own: Callable[[Any], None],
        sop_uid: Callable[[str], str],
    ) -> None:
        self.patient_id = patient_id
        self.patient = patient
        self._clean = clean
        self._sop_uid = sop_uid
        self._public: dict[int, dict[bytes, bytes]] = {}
        self._private: dict[bytes, dict[int, bytes]] = {}
        self._numbers: set[tuple[int, bytes]] = set()
        self._values = 0
        self._anchors = {tag: parts.elements[tag] for tag in _CONTEXT_TAGS if tag in parts.elements}
        common = {tag: parts.elements[tag] for tag in _KEY_TAGS if tag in parts.elements}
        ds = decode_elements(parts, {**common, _SOP_UID: parts.elements[_SOP_UID]})
        own(ds)
        self._own = split_elements(encode_dataset(ds, parts.implicit, True), parts.implicit)

    def _rewrite(self, parts: EncodedHeader, tags: list[int]) -> dict[int, bytes]:
        wanted = {tag: parts.elements[tag] for tag in tags}
        ds = decode_elements(parts, {**self._anchors, **wanted})
        self._clean(ds)
        made: dict[int, bytes] = {}
        for tag, data in wanted.items():
            # Read, judged and left alone: its bytes are what would be written.
            if tag in ds and _is_unchanged(ds.get_item(tag), data):
                made[tag] = data
                if ds.get_item(tag).VR in ("DS", "IS") and self._plain(data):
                    self._numbers.add((tag, data[4:6]))
                del ds[tag]
        for tag in self._anchors.keys() - wanted.keys() - {_CHARSET}:
            if tag in ds:
                del ds[tag]
        if len(ds) > (_CHARSET not in wanted):
            encoded = encode_dataset(ds, parts.implicit, True)
            made.update(split_elements(encoded, parts.implicit))
        return made

    def _is_number(self, tag: int, data: bytes) -> bool:
        """Say whether it is a number where another was left alone: that depends on no more."""
        return (tag, data[4:6]) in self._numbers and self._plain(data)

    @staticmethod
    def _plain(data: bytes) -> bool:
        """Say whether an encoded element holds numbers that cannot be anybody's identifier."""
        short = data[4:6] == b"DS" or len(data) - 8 < MIN_IDENTIFIER_DIGITS
        return short and _NUMBERS.fullmatch(data[8:]) is not None

    def rewritten(self, parts: EncodedHeader) -> dict[int, bytes]:
        """Return the elements of a result, encoded."""
        made: dict[int, bytes] = {}
        new: list[int] = []
        private: list[int] = []
        public = self._public
        for tag, data in parts.elements.items():
            if tag & 0x10000:
                private.append(tag)
            elif tag not in self._own:
                known = public.setdefault(tag, {}).get(data)
                if known is None and not parts.implicit and self._is_number(tag, data):
                    made[tag] = data
                elif known is None:
                    new.append(tag)
                elif known:
                    made[tag] = known
        # A private element means nothing without the creator in its group (PS3.5 7.8).
        whole = b"".join([parts.elements[tag] for tag in private])
        there = self._private.get(whole)
        if new or there is None:
            rewritten = self._rewrite(parts, new if there is not None else [*new, *private])
            if there is None:
                there = {tag: rewritten[tag] for tag in private if tag in rewritten}
                self._private[whole] = there
            for tag in new:
                data = public[tag][parts.elements[tag]] = rewritten.get(tag, b"")
                if data:
                    made[tag] = data
            self._forget(len(new) + len(private))
        made.update(there)
        made.update(self._own)
        made[_SOP_UID] = self._sop(parts.elements[_SOP_UID])
        return made

    def _sop(self, element: bytes) -> bytes:
        value = self._sop_uid(element[8:].strip(b"\0 ").decode("ascii")).encode()
        value += b"\0" * (len(value) % 2)
        if element[4:6] == b"UI":
            return element[:6] + len(value).to_bytes(2, "little") + value
        return element[:4] + len(value).to_bytes(4, "little") + value

    def _forget(self, more: int) -> None:
        self._values += more
        if self._values > _MAX_VALUES:
            self._values = 0
            self._public.clear()
            self._private.clear()
