"""A few of the texts that `make fuzz` tries."""

from __future__ import annotations

from fuzzed.deid_texts import throw


def test_random_texts_leave_neither_name_nor_date() -> None:
    assert throw(11, range(1000)).startswith("texts: 1000 cases")
