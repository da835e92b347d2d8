"""Look up the type of an attribute: whether it must be present, and whether it may be empty."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from pydicom.datadict import tag_for_keyword

_PREFIX = "1.2.840.10008."


@lru_cache(maxsize=1)
def _table() -> dict[tuple[str, int], tuple[str, dict[str, str]]]:
    found: dict[tuple[str, int], tuple[str, dict[str, str]]] = {}
    for line in Path(__file__).with_name("types.csv").read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        kind, keyword, usual, others = line.split(",")
        exceptions = {
            place: rank
            for part in others.split(";")
            if part
            for rank, places in [part.split(":")]
            for place in places.split()
        }
        tag = tag_for_keyword(keyword)
        if tag is not None:
            found[kind, tag] = (usual, exceptions)
    return found


@lru_cache(maxsize=4096)
def attribute_type(tag: int, sop_class: str, sequence: str) -> str:
    """Return the type of an attribute (PS3.5 7.4); conditional types count as required.

    Parameters
    ----------
    tag
        A standard attribute that can identify; all others are of type 3 here.
    sop_class
        SOP Class UID of the instance; decides at the top level.
    sequence
        Keyword of the sequence whose item holds the attribute; empty at the top level.

    Returns
    -------
    str
        ``1`` (must have a value), ``2`` (may be empty) or ``3`` (may be absent).
    """
    usual, exceptions = _table().get(("item" if sequence else "root", tag), ("3", {}))
    return exceptions.get(sequence or sop_class.removeprefix(_PREFIX), usual)
