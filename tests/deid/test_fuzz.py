"""A few hundred hostile UIDs and malformed values; ``make fuzz`` tries many more."""

from __future__ import annotations

from pathlib import Path

from fuzzed.deid_uids import throw
from fuzzed.deid_values import agree


def test_hostile_uids(tmp_path: Path) -> None:
    assert "nothing outside" in throw(7, range(200), tmp_path)


def test_careless_values_are_read_alike_or_held() -> None:
    made = agree(11, 4000)
    assert min(made.values()) > 100
