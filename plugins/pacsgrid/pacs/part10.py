"""The few things read of a DICOM file's head without decoding it (PS3.10 section 7.1)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

HEAD = 132
MOST_META = 64 * 1024
_LONG = (b"OB", b"OW", b"UN", b"UT", b"SQ", b"OF", b"OD", b"OL", b"OV", b"UC", b"UR", b"SV", b"UV")


@dataclass(frozen=True)
class Meta:
    """SOP class, SOP instance and transfer syntax as the file meta information tells them."""

    sop_class: str
    sop_uid: str
    transfer_syntax: str


def read_meta(head: bytes) -> Meta | None:
    """Read the file meta information from a file's first bytes.

    Gives None when they are no DICOM file's or end before the meta information does.
    """
    if head[128:132] != b"DICM":
        return None
    found: dict[int, str] = {}
    at = HEAD
    while at + 8 <= len(head):
        group, element = struct.unpack_from("<HH", head, at)
        if group != 2:
            break
        if head[at + 4 : at + 6] in _LONG:
            if at + 12 > len(head):
                return None
            (length,) = struct.unpack_from("<I", head, at + 8)
            at += 12
        else:
            (length,) = struct.unpack_from("<H", head, at + 6)
            at += 8
        if at + length > len(head):
            return None
        if element in (2, 3, 0x10):
            found[element] = head[at : at + length].decode("ascii", "replace").strip("\0 ")
        at += length
    if not found.get(3) or not found.get(0x10):
        return None
    return Meta(found.get(2, ""), found[3], found[0x10])
