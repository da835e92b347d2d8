"""What the option `acquisition` keeps, from the tables that the anonymiser reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tables import table

from pacsgrid.deid import acquisition

_TABLES = Path(acquisition.__file__).parent
_HEADERS = {
    "csa-image": "Siemens: CSA image header (0029,xx10)",
    "csa-series": "Siemens: CSA series header (0029,xx20)",
    "protocol": "Siemens: protocol, in (0029,xx20) and (0021,xx19)",
    "ge-protocol": "GE: protocol data block (0025,xx1B)",
}


def elements() -> str:
    """Return a table of elements for each private creator."""
    rows: dict[str, list[tuple[str, str, str, str, str]]] = {}
    for creator, group, low, vr, values, meaning, source in _rows("elements.csv"):
        tag = f"({group.upper()},xx{low.upper()})"
        rows.setdefault(creator, []).append((tag, vr, _allowed(values), meaning, source))
    head = ("element", "VR", "values", "meaning", "source")
    return _join(f"### `{creator}`\n\n{table(head, some)}" for creator, some in rows.items())


def fields() -> str:
    """Return a table of fields for each header that is written anew."""
    rows: dict[str, list[tuple[str, str, str]]] = {}
    for header, field, _vr, values, meaning in _rows("fields.csv"):
        rows.setdefault(header, []).append((f"`{field}`", _allowed(values), meaning))
    head = ("field", "values", "meaning")
    return _join(f"### {_HEADERS[name]}\n\n{table(head, some)}" for name, some in rows.items())


def words() -> str:
    """Return the lists of words."""
    return table(
        ("list", "words"), ((f"`{name}`", known or "-") for name, known in _rows("words.csv"))
    )


def _allowed(values: str) -> str:
    kind, _, name = values.partition(" ")
    if kind == "rewrite":
        return "written anew"
    if kind == "words":
        return "numbers" if name == "none" else f"numbers and the words of `{name}`"
    return {"number": "numbers", "items": "items, cleaned"}[kind]


def _join(parts: Iterator[str]) -> str:
    return "\n\n".join(parts)


def _rows(name: str) -> Iterator[list[str]]:
    for line in (_TABLES / name).read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            yield line.split(";")
