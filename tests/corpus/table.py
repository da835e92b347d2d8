"""Table E.1-1 as its JSON says, read without a line of the anonymiser's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "data" / "ps3.15-table-e1-1.json"
# The columns of the table for each option of a profile (PS3.15 E.3).
COLUMNS = {
    "uids": "rtnUIDsOpt", "device": "rtnDevIdOpt", "institution": "rtnInstIdOpt",
    "patient": "rtnPatCharsOpt", "full": "rtnLongFullDatesOpt",
    "modified": "rtnLongModifDatesOpt", "descriptors": "cleanDescOpt",
    "structured": "cleanStructContOpt", "graphics": "cleanGraphOpt", "private": "rtnSafePrivOpt",
}  # fmt: skip
# An option of ours keeps private elements too; the table has one row for all of them.
_KEEPING = {**COLUMNS, "acquisition": COLUMNS["private"]}
# An element for each pattern of the table.
_EXAMPLES = {
    "50xxxxxx": 0x50003000, "60xx3000": 0x60003000, "60xx4000": 0x60004000,
    "ggggeeee-where-gggg-is-odd": 0x00091001,
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One row: an example of its tag, and what the columns say."""

    tag: int
    name: str
    columns: dict[str, Any]

    def may_stay(self, options: frozenset[str]) -> bool:
        """Say whether an option retains the value as it is."""
        return any(self.columns.get(_KEEPING[option]) == "K" for option in options)


def rows() -> list[Row]:
    """Read all 621 rows."""
    return [
        Row(_EXAMPLES.get(row["id"]) or int(row["id"], 16), row["name"], row)
        for row in json.loads(DATA.read_text("utf-8"))
    ]
