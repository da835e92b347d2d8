"""The inverted index: which studies have which value of an attribute.

Every value of a study's or its series' attributes is a term. A search turns each of its keys into
a condition on terms, so that it reads the studies that match and no others. The conditions may let
through too much, never too little: the attributes themselves decide in the end.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from pacsgrid.gateway.matching import bounds, fits, number_of
from pacsgrid.pipeline.dicom_json import Json

SCHEMA = """
CREATE TABLE term (
    tag TEXT NOT NULL, text TEXT NOT NULL, vr TEXT NOT NULL, id INTEGER NOT NULL,
    PRIMARY KEY (tag, text, vr)) WITHOUT ROWID;
CREATE TABLE posting (
    term INTEGER NOT NULL, study INTEGER NOT NULL, PRIMARY KEY (term, study)) WITHOUT ROWID;
"""
# Values of these are long, and no query names them whole.
_LONGEST = 256
# Terms with fewer studies than this are looked up first; others are checked study by study.
_RARE = 20_000
_WILD_CARDS = re.compile(r"[*?]+")
_DEEPEST = 4


@dataclass(frozen=True)
class Condition:
    """A condition on ``study.id`` in SQL, and the values of its placeholders."""

    sql: str
    values: tuple[object, ...]
    rare: bool


def terms_of(attributes: Json, path: str = "", depth: int = 0) -> Iterator[tuple[str, str, str]]:
    """Yield tag, text and VR of every value of some attributes.

    Parameters
    ----------
    attributes
        Attributes in the DICOM JSON model (PS3.18 F.2).
    path
        The tags of the sequences around them, each with a dot.
    depth
        How many sequences are around them.

    Yields
    ------
    tuple of str
        The tag in 8 hex digits, after those of its sequences and dots; the text; the VR.
    """
    for tag, element in attributes.items():
        vr = str(element.get("vr", ""))
        for value in element.get("Value", ()):
            if vr == "SQ":
                if isinstance(value, dict) and depth < _DEEPEST:
                    yield from terms_of(value, f"{path}{tag}.", depth + 1)
            elif isinstance(value, dict):
                for group in value.values() if vr == "PN" else ():
                    yield f"{path}{tag}", _folded(vr, str(group)), vr
            elif value is not None:
                yield f"{path}{tag}", _folded(vr, str(value)), vr


def _folded(vr: str, text: str) -> str:
    """Return a value as terms have it: cut if it is long, and names without their case."""
    return (text.strip(" ^").casefold() if vr == "PN" else text.strip())[:_LONGEST]


def _id(tag: str, text: str) -> int:
    # Two terms with one number would only let a study through that is then looked at.
    found = hashlib.blake2b(f"{tag} {text}".encode("utf-8", "replace"), digest_size=6).digest()
    return int.from_bytes(found)


def rows_of(attributes: Json) -> set[tuple[str, str, str, int]]:
    """Return the rows of the table ``term`` for some attributes."""
    return {(tag, text, vr, _id(tag, text)) for tag, text, vr in terms_of(attributes)}


def replace_terms(db: sqlite3.Connection, study: int, old: list[Json], new: list[Json]) -> None:
    """Bring a study's terms up to date.

    Parameters
    ----------
    db
        The index, in a transaction.
    study
        The study's ID in the index.
    old, new
        The attributes of the study and of each of its series, before and after the change.
    """
    before = {row[3] for attributes in old for row in rows_of(attributes)}
    rows = {row for attributes in new for row in rows_of(attributes)}
    after = {row[3] for row in rows}
    db.executemany("INSERT OR IGNORE INTO term VALUES (?, ?, ?, ?)", sorted(rows))
    db.executemany(
        "DELETE FROM posting WHERE term = ? AND study = ?",
        ((term, study) for term in sorted(before - after)),
    )
    db.executemany(
        "INSERT OR IGNORE INTO posting VALUES (?, ?)", ((term, study) for term in sorted(after))
    )


def condition(db: sqlite3.Connection, tag: str, wanted: str) -> Condition | None:
    """Return the condition that a key sets, or None if it sets none.

    Parameters
    ----------
    db
        The index.
    tag
        The key's tag, after those of its sequences and dots.
    wanted
        Its value, as `matching.matches` takes it.

    Returns
    -------
    Condition or None
        None for a key that every study matches.
    """
    if not wanted.strip("*"):
        return None
    db.create_function("fits", 3, fits, deterministic=True)
    terms, values = _terms(tag, wanted)
    sql = f"SELECT study FROM posting WHERE term IN ({terms})"
    count = db.execute(f"SELECT count(*) FROM ({sql} LIMIT {_RARE})", values).fetchone()[0]
    if count < _RARE:
        return Condition(f"study.id IN ({sql})", values, rare=True)
    found = db.execute(f"SELECT id FROM ({terms}) LIMIT 9", values).fetchall()
    if len(found) <= 8:  # few values that many studies have
        marks = ", ".join(str(int(term)) for (term,) in found)
        return Condition(
            f"EXISTS (SELECT 1 FROM posting WHERE term IN ({marks}) AND study = study.id)",
            (),
            rare=False,
        )
    return Condition(f"study.id IN ({sql})", values, rare=False)


def _terms(tag: str, wanted: str) -> tuple[str, tuple[object, ...]]:
    """Return a query for the terms that match a key, and its values."""
    plain = not set(wanted) & set("*?-\\,")
    if plain and number_of(wanted) is None:
        # One exact value: a single place in the index.
        text = "SELECT id FROM term WHERE tag = ? AND text = ? AND vr"
        name = wanted.strip(" ^").casefold()[:_LONGEST]
        return (
            f"{text} <> 'PN' UNION ALL {text} = 'PN'",
            (tag, wanted.strip()[:_LONGEST], tag, name),
        )
    where, values = ["tag = ?"], [tag]
    literals = [part for part in _WILD_CARDS.split(wanted) if part]
    if "\\" not in wanted and _WILD_CARDS.search(wanted):
        prefix = _WILD_CARDS.split(wanted)[0].strip()
        longest = max(literals, key=len, default="").strip()
        if prefix.isascii() and prefix:
            folded = prefix.casefold()
            where.append("(text >= ? AND text < ? OR text >= ? AND text < ?)")
            values += [prefix, prefix + "\U0010ffff", folded, folded + "\U0010ffff"]
        elif longest.strip(" ^"):
            where.append("(instr(text, ?) OR instr(text, ?))")
            values += [longest.strip(" ^"), longest.strip(" ^").casefold()]
    elif "\\" not in wanted:
        low, high = bounds("DA", wanted)
        if re.fullmatch(r"\d{8}", low) and re.fullmatch(r"\d{8}", high):
            where.append("(vr <> 'DA' OR text BETWEEN ? AND ?)")
            values += [low, high]
    where.append("fits(vr, ?, text)")
    return f"SELECT id FROM term WHERE {' AND '.join(where)}", (*values, wanted)
