"""Codes of held studies and files that more than one module checks for."""

from __future__ import annotations

from pacsgrid.review_model import REJECTED

WITHDRAWN = "withdrawn"
"""The patient had withdrawn before the study came."""
CONSENT_REFUSED = "consent-refused"
"""The patient does not consent, or nobody knows, and the project does not take such studies."""
CONSENT_HELD = "consent-held"
"""The same where the project has a steward look at such studies."""
GIVEN_UP = frozenset({REJECTED, WITHDRAWN, CONSENT_REFUSED})
"""What is held for these reasons does not wait for a steward."""

__all__ = ["GIVEN_UP", "REJECTED", "WITHDRAWN"]
