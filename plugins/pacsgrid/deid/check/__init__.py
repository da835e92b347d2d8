"""The checker of anonymised files. It shares no code with the anonymiser's actions."""

from __future__ import annotations

from .checker import Checker, ScannedHeader, check_file, scan
from .findings import Counts
from .identity import Identity
from .issued_uids import verified_uids
from .references import References

__all__ = [
    "Checker",
    "Counts",
    "Identity",
    "References",
    "ScannedHeader",
    "check_file",
    "scan",
    "verified_uids",
]
