"""A few hundred hostile UIDs; ``make fuzz`` throws many more."""

from __future__ import annotations

from pathlib import Path

from fuzzed.deid_uids import throw


def test_hostile_uids(tmp_path: Path) -> None:
    assert "nothing outside" in throw(7, range(200), tmp_path)
