"""Damaged conversations against the gateway; `make fuzz` throws a hundred thousand."""

from __future__ import annotations

from pathlib import Path

from fuzzed.run import asking_side, throw


def test_no_case_hurts(tmp_path: Path) -> None:
    with asking_side(tmp_path) as side:
        throw(side, 4, range(300))
