"""DIMSE status codes (PS3.7 annex C, PS3.4 annexes B and C)."""

from __future__ import annotations

SUCCESS = 0x0000
PENDING = 0xFF00
PENDING_UNMATCHED = 0xFF01  # some optional keys were not matched
CANCELLED = 0xFE00

INVALID_INSTANCE = 0x0117
WRONG_SOP_CLASS = 0x0122
NOT_AUTHORISED = 0x0124
UNRECOGNISED_OPERATION = 0x0211

OUT_OF_RESOURCES = 0xA700
UNABLE_TO_COUNT_MATCHES = 0xA701
UNABLE_TO_PERFORM = 0xA702
MOVE_DESTINATION_UNKNOWN = 0xA801
DOES_NOT_MATCH_SOP_CLASS = 0xA900
SOME_FAILED = 0xB000
CANNOT_UNDERSTAND = 0xC000

_WARNINGS = (0x0001, 0x0107, 0x0116)


def is_warning(status: int) -> bool:
    """Return whether a status reports success with a warning (PS3.7 section C.4)."""
    return status & 0xF000 == 0xB000 or status in _WARNINGS
