"""Reasons of what is held that more than one place acts upon."""

from __future__ import annotations

REJECTED = "rejected"
"""A steward took the study, or the file, out."""
WITHDRAWN = "withdrawn"
"""The patient withdrew before the study came."""
GIVEN_UP = frozenset({REJECTED, WITHDRAWN})
