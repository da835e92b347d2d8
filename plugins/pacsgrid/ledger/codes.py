"""Codes of held studies and files that more than one module checks for."""

from __future__ import annotations

REJECTED = "rejected"
"""A steward rejected the study or the file."""
WITHDRAWN = "withdrawn"
"""The patient had withdrawn before the study came."""
GIVEN_UP = frozenset({REJECTED, WITHDRAWN})
"""What is held for these reasons does not wait for a steward."""
