"""The checker: reads what comes out of the actions, trusts them in nothing, shares no code."""

from __future__ import annotations

from .checker import Checker, check_file
from .findings import Counts

__all__ = ["Checker", "Counts", "check_file"]
