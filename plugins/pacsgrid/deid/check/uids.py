"""Judge UIDs: which are valid, the standard's own, or name a class. The checker's own code."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from pathlib import Path

_ROOT = b"1.2.840.10008."
# SOP classes, transfer syntaxes, coding schemes, context groups and mapping resources.
CLASS_UID_TAGS = frozenset(
    (
        0x00000002, 0x00000003, 0x00020002, 0x00020010, 0x00020032, 0x00041510, 0x00041512,
        0x0004151A, 0x00080016, 0x0008001A,
        0x0008001B, 0x00080062, 0x0008010C, 0x00080117, 0x00080118, 0x0008040E, 0x00081150,
        0x0008115A, 0x00083002, 0x00340003, 0x04000010, 0x04000510, 0x30100052, 0x30100053,
    )
)  # fmt: skip


@lru_cache(maxsize=1)
def _standard() -> frozenset[bytes]:
    found: set[bytes] = set()
    for line in Path(__file__).with_name("annex_a.csv").read_bytes().splitlines():
        if not line.startswith(b"#"):
            parent, _, last = line.partition(b";")
            above = _ROOT + (parent + b"." if parent != b"-" else b"")
            found.update(above + one for one in last.split())
    return frozenset(found)


def is_standard(uid: bytes) -> bool:
    """Return whether PS3.6 Annex A lists a UID."""
    return uid in _standard()


def is_valid(uid: bytes) -> bool:
    """Return whether a value has the form of a UID (PS3.5 9.1); leading zeros are allowed."""
    parts = uid.split(b".")
    return (
        len(uid) <= 64
        and len(parts) > 1
        and parts[0] in (b"0", b"1", b"2")
        and all(part.isdigit() for part in parts)
    )


def holds_identity(uid: bytes, numbers: Collection[bytes], dates: Collection[str]) -> bool:
    """Return whether a UID contains an identifying number or date.

    Parameters
    ----------
    uid
        The UID.
    numbers
        Identifiers as digits. They may cross the UID's dots.
    dates
        Whole dates as ``YYYYMMDD``. They must lie within one component.
    """
    digits = uid.replace(b".", b"")
    if any(number in digits for number in numbers):
        return True
    return any(date.encode() in part for part in uid.split(b".") for date in dates)
