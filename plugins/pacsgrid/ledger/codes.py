"""Codes of held studies and files that more than one module checks for."""

from __future__ import annotations

from pacsgrid.review_model import REJECTED

WITHDRAWN = "withdrawn"
"""The patient had withdrawn before the study came."""
GIVEN_UP = frozenset({REJECTED, WITHDRAWN})
"""What is held for these reasons does not wait for a steward."""

__all__ = ["GIVEN_UP", "REJECTED", "WITHDRAWN"]
