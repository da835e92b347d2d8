"""Show one file before and after, element by element, to an authorised user."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset

from ..log_suppression import pydicom_suppressed
from .anonymise import anonymise_file
from .check import check_file
from .identifiers import collect_identifiers
from .profile import Profile
from .pseudonyms import Pseudonyms

_WIDTH = 48
_Place = tuple[tuple[int, int], ...]


def difference(
    source: Path, folder: Path, pseudonyms: Pseudonyms, profile: Profile
) -> Iterator[str]:
    """Anonymise a file and list what became of each element.

    Parameters
    ----------
    source
        The file.
    folder
        Folder for the result.
    pseudonyms
        The project's pseudonym space.
    profile
        What is removed, replaced and kept.

    Yields
    ------
    str
        A line that begins with ``-`` (removed), ``+`` (added), ``~`` (changed) or a blank (kept).
        It holds identifying values: show it, and store it nowhere.

    Raises
    ------
    HeldError
        The file cannot be anonymised, or the checker refuses the result.
    """
    made = anonymise_file(source, folder, pseudonyms, profile, collect_identifiers([source]))
    check_file(source, made.path, profile)
    with pydicom_suppressed():
        before = dict(_values(dcmread(source, stop_before_pixels=True)))
        after = dict(_values(dcmread(made.path, stop_before_pixels=True)))
    for place in sorted(before.keys() | after.keys()):
        old, new = before.get(place), after.get(place)
        name = (old or new or ("", ""))[0]
        if old is None:
            yield f"+ {name} {'':{_WIDTH}} {_short(new)}"
        elif new is None:
            yield f"- {name} {_short(old)}"
        elif old[1] == new[1]:
            yield f"  {name} {_short(old)}"
        else:
            yield f"~ {name} {_short(old):{_WIDTH}} {_short(new)}"


def _short(entry: tuple[str, str] | None) -> str:
    text = entry[1] if entry else ""
    # A value may hold control characters that move a terminal's cursor.
    text = "".join(c if c.isprintable() else "." for c in text)
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"


def _values(
    ds: Dataset, place: _Place = (), level: int = 0
) -> Iterator[tuple[_Place, tuple[str, str]]]:
    for element in ds:
        here = (*place, (int(element.tag), -1))
        name = f"{'  ' * level}{element.tag} {element.VR} {element.keyword or 'private':36.36}"
        if element.VR == "SQ":
            yield here, (name, f"{len(element.value)} items")
            for number, item in enumerate(element.value):
                yield from _values(item, (*place, (int(element.tag), number)), level + 1)
        else:
            yield here, (name, _text(element.value))


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return f"{len(value)} bytes {value[:16].hex()}"
    return str(value)
