"""Reasons of held studies that more than one step acts upon."""

from __future__ import annotations

REJECTED = "rejected"
"""A steward took the study out."""
WITHDRAWN = "withdrawn"
"""The patient withdrew before the study came."""
GIVEN_UP = frozenset({REJECTED, WITHDRAWN})
