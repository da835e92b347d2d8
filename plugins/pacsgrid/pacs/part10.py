"""The head of a DICOM file, read and written without the rest (PS3.10 section 7.1)."""

from __future__ import annotations

import string
import struct
from dataclasses import dataclass

from pacsgrid.dimse.pdu import IMPLEMENTATION_NAME, IMPLEMENTATION_UID

HEAD = 132
MOST_META = 64 * 1024
_LONG = (b"OB", b"OW", b"UN", b"UT", b"SQ", b"OF", b"OD", b"OL", b"OV", b"UC", b"UR", b"SV", b"UV")
_PADDING = "\0" + string.whitespace  # PS3.5 allows a null; writers add spaces and tabs too


@dataclass(frozen=True)
class Meta:
    """What the file meta information says.

    Attributes
    ----------
    sop_class, sop_uid, transfer_syntax
        UIDs, without padding.
    end
        Where the dataset starts, in bytes from the file's start; 0 if it starts after the bytes
        that were read.
    """

    sop_class: str
    sop_uid: str
    transfer_syntax: str
    end: int = 0


def read_meta(head: bytes) -> Meta | None:
    """Read the file meta information from a file's first bytes.

    Returns
    -------
    Meta or None
        None if the bytes are not a DICOM file's, lack the SOP instance or transfer syntax UID, or
        end within an element of the meta information.
    """
    if head[128:132] != b"DICM":
        return None
    found: dict[int, str] = {}
    at, end = HEAD, 0
    while at + 8 <= len(head):
        group, element = struct.unpack_from("<HH", head, at)
        if group != 2:
            end = at
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
            found[element] = head[at : at + length].decode("ascii", "replace").strip(_PADDING)
        at += length
    if not found.get(3) or not found.get(0x10):
        return None
    return Meta(found.get(2, ""), found[3], found[0x10], end)


def write_head(sop_class: str, sop_uid: str, transfer_syntax: str) -> bytes:
    """Encode preamble, prefix and file meta information for a dataset that follows unchanged.

    Parameters
    ----------
    sop_class, sop_uid, transfer_syntax
        UIDs of the dataset's SOP class, SOP instance and transfer syntax.

    Returns
    -------
    bytes
        Everything that precedes the dataset in the file.
    """

    def element(number: int, vr: bytes, value: str, pad: bytes = b"\0") -> bytes:
        data = value.encode("ascii", "replace")
        data += pad * (len(data) % 2)
        return struct.pack("<HH2sH", 2, number, vr, len(data)) + data

    body = struct.pack("<HH2sxxI2s", 2, 1, b"OB", 2, b"\0\1")
    body += element(0x02, b"UI", sop_class) + element(0x03, b"UI", sop_uid)
    body += element(0x10, b"UI", transfer_syntax)
    body += element(0x12, b"UI", IMPLEMENTATION_UID)
    body += element(0x13, b"SH", IMPLEMENTATION_NAME, b" ")
    length = struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(body))
    return b"\0" * 128 + b"DICM" + length + body
