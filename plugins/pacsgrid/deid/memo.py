"""A study's headers differ in a few elements: what became of the others is remembered.

What the actions make of an element depends on its own bytes and on little else: the character
set, the SOP class, the patient, and for a private element on its group. An element that had the
same bytes in an earlier file of the study is taken over as it was written then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .encode import encoded_dataset
from .parts import Parts, cut_encoded, parsed

# What every element's rewriting may depend on: character set, UIDs, SOP class, and the meaning of
# binary numbers in implicit VR.
_CHARSET, _SOP_UID = 0x00080005, 0x00080018
_ANCHORS = (
    _CHARSET, 0x00080016, _SOP_UID, 0x0020000D, 0x0020000E, 0x00280100, 0x00280103
)  # fmt: skip
# With it the patient, and what the anonymiser writes on its own account, whatever stood there.
_SHARED = (
    0x00080005, 0x00080016, 0x00080060, 0x00100010, 0x00100020, 0x00120062, 0x00120063,
    0x00120064, 0x0020000D, 0x0020000E, 0x00280100, 0x00280103, 0x00280301, 0x00280302,
    0x00280303,
)  # fmt: skip
_UIDS = (0x00080016, _SOP_UID, 0x0020000D, 0x0020000E)
# Three elements that make one coded entry: no dataset has them, an item does.
_CODE = (0x00080100, 0x00080102, 0x00080104)
# Values kept at most; a study seldom has a tenth of them.
_LIMIT = 100_000


def separable(parts: Parts) -> bool:
    """Say whether the elements of a header can be rewritten one by one."""
    named = all(len(parts.elements.get(tag, b"")) > 8 for tag in _UIDS)
    return named and not any(tag in parts.elements for tag in _CODE)


def shared(parts: Parts) -> tuple[bytes | None, ...]:
    """Return what files must have in common to share a `Memo`."""
    return tuple([parts.elements.get(tag) for tag in _SHARED])


class Memo:
    """Rewrites headers that have what `shared` names in common.

    Parameters
    ----------
    parts
        The first of them.
    patient_id
        The original PatientID, or what stands for it.
    clean
        Applies the profile to a dataset, in place.
    own
        Writes into a cleaned dataset what was done.
    """

    def __init__(
        self,
        parts: Parts,
        patient_id: str,
        clean: Callable[[Any], None],
        own: Callable[[Any], None],
    ) -> None:
        self.patient_id = patient_id
        self._clean = clean
        self._known: dict[tuple[tuple[int, ...], bytes], list[tuple[int, bytes]]] = {}
        anchors = {tag: parts.elements[tag] for tag in _ANCHORS if tag in parts.elements}
        common = {tag: parts.elements[tag] for tag in _SHARED if tag in parts.elements}
        self._anchors = anchors
        ds = parsed(parts, {**anchors, **common})
        clean(ds)
        own(ds)
        self._own = cut_encoded(encoded_dataset(ds, parts.implicit, True), parts.implicit)
        del self._own[_SOP_UID]

    def _rewrite(self, parts: Parts, elements: dict[int, bytes]) -> dict[int, bytes]:
        anchors = {**self._anchors, _SOP_UID: parts.elements[_SOP_UID]}
        ds = parsed(parts, {**anchors, **elements})
        self._clean(ds)
        for tag in anchors.keys() - elements.keys() - {_CHARSET}:
            if tag in ds:
                del ds[tag]
        return cut_encoded(encoded_dataset(ds, parts.implicit, True), parts.implicit)

    def rewritten(self, parts: Parts) -> dict[int, bytes]:
        """Return the elements of a result, encoded."""
        made: dict[int, bytes] = {}
        new: list[tuple[tuple[int, ...], bytes]] = []
        known = self._known
        for unit in parts.units():
            there = known.get(unit)
            if there is None:
                new.append(unit)
            else:
                made.update(there)
        if new:
            if len(known) > _LIMIT:
                known.clear()
            elements = {tag: parts.elements[tag] for tags, _ in new for tag in tags}
            rewritten = self._rewrite(parts, elements)
            for unit in new:
                pairs = [(tag, rewritten[tag]) for tag in unit[0] if tag in rewritten]
                known[unit] = pairs
                made.update(pairs)
        made.update(self._own)
        return made
