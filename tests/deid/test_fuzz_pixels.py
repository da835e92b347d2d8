"""Damaged compressed pixel data with a canary; `make fuzz` tries ten thousand."""

from __future__ import annotations

from pathlib import Path

from fuzzed.deid_pixels import throw


def test_a_canary_never_passes(tmp_path: Path) -> None:
    said = throw(tmp_path, 7, range(250))
    assert said["done"] > 50, "most cases never got through; they test nothing"
    assert said["identity-left"] > 5
