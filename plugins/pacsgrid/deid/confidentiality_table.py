"""Look up rows of Table E.1-1 of PS3.15, which `table.csv` holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path


@dataclass(frozen=True)
class Rule:
    """One row of the table.

    Attributes
    ----------
    keyword
        The attribute's keyword.
    basic
        Action of the Basic Profile, as the table has it: ``X``, ``Z/D``, ``X/Z/U*``.
    options
        Action by option, for the options that change it.
    """

    keyword: str
    basic: str
    options: dict[str, str] = field(default_factory=dict)


@lru_cache(maxsize=1)
def load_table() -> dict[str, Rule]:
    """Read the table, keyed by its tag pattern (``00080050``, ``50xxxxxx``, ``private``)."""
    found: dict[str, Rule] = {}
    for line in (Path(__file__).with_name("table.csv")).read_text("utf-8").splitlines():
        if line.startswith("#") or not line:
            continue
        tag, keyword, basic, options = line.split(",")
        found[tag] = Rule(keyword, basic, dict(o.split("=") for o in options.split()))
    return found


@lru_cache(maxsize=1)
def _by_tag() -> dict[int, Rule]:
    return {int(t, 16): r for t, r in load_table().items() if len(t) == 8 and "x" not in t}


def rule_for(tag: int) -> Rule | None:
    """Return the row of a tag, None without one; repeating groups (50xx, 60xx) are covered."""
    rule = _by_tag().get(tag)
    if rule is None:
        group = tag >> 16
        # The table lists two elements of an overlay. Without its data the whole group is useless.
        if group & 0xFF00 == 0x5000:
            return load_table()["50xxxxxx"]
        if group & 0xFF00 == 0x6000:
            return load_table()["60xx3000"]
    return rule
