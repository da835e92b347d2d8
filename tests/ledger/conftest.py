"""A ledger with one study that was found."""

from __future__ import annotations

import pytest

from pacsgrid.ledger import Ledger


@pytest.fixture
def ledger(dsn: str) -> Ledger:
    ledger = Ledger(dsn, "tester")
    ledger.studies.add_found("a", "demo", "pacs", "hash", b"sealed")
    return ledger
