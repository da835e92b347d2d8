"""Recognise codes with their published meaning, which name nobody even if they equal a name."""

from __future__ import annotations

from functools import lru_cache

from .reader import Items

_CONCEPT = 0x0040A043
_VALUE, _SCHEME, _MEANING = 0x00080100, 0x00080102, 0x00080104


def means_what_it_says(item: Items) -> bool:
    """Return whether an item holds a code of PS3.16 with its published meaning."""
    said = [_text(item, tag) for tag in (_SCHEME, _VALUE, _MEANING)]
    return said[2] in _published().get((said[0], said[1]), ())


def measures_age(item: Items) -> bool:
    """Return whether a content item is the subject's age (PS3.16 CID 3627)."""
    names = item.get(_CONCEPT)
    return names is not None and any(
        (_text(name, _SCHEME), _text(name, _VALUE)) == ("DCM", "121033")
        for name in names.items or ()
    )


def _text(item: Items, tag: int) -> str:
    element = item.get(tag)
    return element.value.strip(b"\0 ").decode("latin-1") if element is not None else ""


@lru_cache(maxsize=1)
def _published() -> dict[tuple[str, str], set[str]]:
    from pydicom.sr._concepts_dict import concepts  # large: see worker_context

    found: dict[tuple[str, str], set[str]] = {}
    for scheme, names in concepts.items():
        for codes in names.values():
            for value, (meaning, _) in codes.items():
                found.setdefault((scheme, value), set()).add(meaning)
    return found
