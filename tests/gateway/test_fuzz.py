"""Send damaged requests to the gateway; `make fuzz` sends a hundred thousand."""

from __future__ import annotations

from fuzzed.run import alone


def test_no_case_hurts() -> None:
    alone("gateway", 300)
