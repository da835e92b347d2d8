"""Find private elements that may stay: by creator and element, never by group (PS3.15 E.3.10)."""

from __future__ import annotations

from functools import lru_cache

from pydicom.datadict import private_dictionaries, private_dictionary_VR
from pydicom.dataset import Dataset

from .safe_private import same_creator


@lru_cache(maxsize=1)
def _spelled() -> dict[str, str]:
    """Return how pydicom's private dictionary spells each creator."""
    return {same_creator(creator): creator for creator in private_dictionaries}


def safe_elements(ds: Dataset, safe: frozenset[tuple[str, int, int]]) -> dict[int, str]:
    """Return the safe private elements of one level of a dataset.

    Parameters
    ----------
    ds
        The dataset.
    safe
        Creator (as `same_creator` returns it), group, and element within the block.

    Returns
    -------
    dict of int to str
        VR by tag, the private creators of the blocks among them. Where the file gives no VR it is
        taken from the private dictionary; an element of unknown VR is not safe.
    """
    if not safe:
        return {}
    found: dict[int, str] = {}
    for tag in list(ds.keys()):
        group, low = tag >> 16, tag & 0xFFFF
        if not group & 1 or low < 0x1000:
            continue
        block = group << 16 | low >> 8
        try:
            creator = same_creator(str(ds[block].value)) if block in ds else ""
        except Exception:
            continue  # the creator cannot be decoded
        if (creator, group, low & 0xFF) not in safe:
            continue
        vr = ds.get_item(tag).VR
        if vr in (None, "UN"):
            try:
                vr = private_dictionary_VR(tag, _spelled().get(creator, creator))
            except KeyError:
                continue
        found[int(tag)] = vr
        found[block] = "LO"
    return found
