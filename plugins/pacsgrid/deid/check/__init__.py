"""The checker: reads what comes out of the actions, trusts them in nothing, shares no code."""

from __future__ import annotations

from .checker import Checker, ScannedHeader, check_file, scan
from .findings import Counts
from .identity import Identity
from .references import References

__all__ = ["Checker", "Counts", "Identity", "References", "ScannedHeader", "check_file", "scan"]
