"""A short soak; `make zone-soak` runs the long one."""

from __future__ import annotations

from pathlib import Path

from support.zone_soak import soak


def test_short_soak(tmp_path: Path) -> None:
    assert soak(operations=2500, clients=8, root=tmp_path, seed=7) == []
