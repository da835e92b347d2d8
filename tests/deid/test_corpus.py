"""A sample of `make deid-corpus`, and our table against the JSON of Table E.1-1."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus import run
from corpus.table import COLUMNS
from corpus.table import rows as published
from pacsgrid.deid.confidentiality_table import load_table as ours

_PATTERNS = {"ggggeeee-where-gggg-is-odd": "private"}


def test_the_table_says_what_the_published_one_says() -> None:
    table = ours()
    assert len(table) == len(published()) == 621
    for row in published():
        rule = table[_PATTERNS.get(row.columns["id"], row.columns["id"])]
        assert rule.basic == row.columns["basicProfile"], row.name
        options = {o: row.columns[c] for o, c in COLUMNS.items() if c in row.columns}
        assert rule.options == options, row.name


@pytest.mark.parametrize(("profile", "step"), [("basic", 18), ("research", 29), ("strict", 97)])
def test_nothing_of_a_row_is_left_at_any_depth(tmp_path: Path, profile: str, step: int) -> None:
    sample = list(enumerate(published()))[7::step]
    fates, wrong = run.generated(sample, run.DEPTHS, tmp_path, profile)
    assert fates["anonymised"] >= 3 * len(sample) - 6
    assert not wrong
