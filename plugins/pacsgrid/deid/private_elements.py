"""Find private elements that may stay: by creator and element, never by group (PS3.15 E.3.10)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from pydicom.datadict import private_dictionaries, private_dictionary_VR
from pydicom.dataset import Dataset

from .acquisition import AcquisitionElement
from .safe_private import same_creator


@dataclass(frozen=True, slots=True)
class SafeElement:
    """A private element that may stay.

    Attributes
    ----------
    vr
        Its VR.
    acquisition
        Its row in the table of acquisition elements, None for others.
    trusted
        Whether the profile or the standard lists it, so that it is cleaned as its VR asks for
        where the table of acquisition elements does not allow its value.
    """

    vr: str
    acquisition: AcquisitionElement | None = None
    trusted: bool = True


@lru_cache(maxsize=1)
def _spelled() -> dict[str, str]:
    """Return how pydicom's private dictionary spells each creator."""
    return {same_creator(creator): creator for creator in private_dictionaries}


def safe_elements(
    ds: Dataset,
    safe: frozenset[tuple[str, int, int]],
    acquisition: Mapping[tuple[str, int, int], AcquisitionElement],
) -> dict[int, SafeElement]:
    """Return the private elements of one level of a dataset that may stay.

    Parameters
    ----------
    ds
        The dataset.
    safe
        Creator (as `same_creator` returns it), group, and element within the block.
    acquisition
        Elements that stay as far as their value is allowed, by the same three.

    Returns
    -------
    dict of int to SafeElement
        By tag, the private creators of the blocks among them. Where the file gives no VR it is
        taken from the table of acquisition elements or from the private dictionary; an element of
        unknown VR is not safe.
    """
    if not safe and not acquisition:
        return {}
    found: dict[int, SafeElement] = {}
    for tag in list(ds.keys()):
        group, low = tag >> 16, tag & 0xFFFF
        if not group & 1 or low < 0x1000:
            continue
        block = group << 16 | low >> 8
        try:
            creator = same_creator(str(ds[block].value)) if block in ds else ""
        except Exception:
            continue  # the creator cannot be decoded
        key = (creator, group, low & 0xFF)
        listed = acquisition.get(key)
        if listed is None and key not in safe:
            continue
        vr = ds.get_item(tag).VR
        if vr in (None, "UN"):
            vr = listed.vr if listed else _dictionary_vr(tag, creator)
        if listed is not None and not listed.accepts(vr):
            listed = None
        if vr is None or (listed is None and key not in safe):
            continue
        found[int(tag)] = SafeElement(vr, listed, key in safe)
        found[block] = SafeElement("LO")
    return found


def _dictionary_vr(tag: int, creator: str) -> str | None:
    try:
        return str(private_dictionary_VR(tag, _spelled().get(creator, creator)))
    except KeyError:
        return None
