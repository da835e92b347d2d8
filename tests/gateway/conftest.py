"""Zones of the test's own, or one pair for all tests that only read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gatewaykit import ServedZones


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ServedZones]:
    with ServedZones(tmp_path) as zones:
        yield zones
