"""Write GE's private blocks anew: the protocol data block, and flags in the user data."""

from __future__ import annotations

import gzip
import re
import struct
import zlib

from .table import fields
from .values import Identifies, clean_text

_LINE = re.compile(r'\s*(?:set\s+)?([A-Z0-9]+)\s+"([^"]*)"\s*')
_LARGEST_TEXT = 1 << 22
_GZIP = zlib.MAX_WBITS | 16

# Positions in the scanner's header inside (0043,xx2A), as dcm2niix reads them
# (`kUserDefineDataGE`).
_OFFSET_AT, _POLARITY_AT, _EPI_AT, _ORDER_AT = 24, 0x30, 0x3A, 0x394
_NEWER, _SHIFT, _ORDER_SHIFT = 25.002, 0x4C, 0x8C
_VERSIONS = (5.0, 40.0)
_POLARITY_FLAG, _EPI_FLAG, _MOST_ORDER = 0x0004, 0x0800, 2
# Where the header begins in what is written, and its length.
_HEADER_AT, _WRITTEN = 32, 1024


def rewrite_protocol_block(value: bytes, identifies: Identifies) -> bytes | None:
    """Return a protocol data block (0025,xx1B) with the listed keys only, or None without any.

    Parameters
    ----------
    value
        Length of the rest, and a gzip stream of lines such as ``SLICEORDER "1"``.
    identifies
        Says which long numbers may not stay.
    """
    inflater = zlib.decompressobj(_GZIP)
    try:
        text = inflater.decompress(value[4:], _LARGEST_TEXT).decode("latin-1")
    except zlib.error:
        return None
    known = fields("ge-protocol")
    lines, seen = [], set()
    for line in text.split("\n"):
        match = _LINE.fullmatch(line)
        field = known.get(match[1]) if match else None
        if match is None or field is None or match[1] in seen:
            continue
        made_value = clean_text(match[2], field.rule, identifies)
        if made_value is not None:
            seen.add(match[1])
            lines.append(f'{match[1]} "{made_value}"\n')
    if not lines:
        return None
    # A line break first: readers search for one in front of a key.
    packed = gzip.compress(("\n" + "".join(lines)).encode("ascii"), 9, mtime=0)
    made = struct.pack("<I", len(packed)) + packed
    return made + bytes(len(made) % 2)


def rewrite_user_data(value: bytes, _identifies: Identifies) -> bytes | None:
    """Return user data (0043,xx2A) with version, polarity and order of phase encoding only.

    Parameters
    ----------
    value
        The block; an offset in it leads to the scanner's header.
    _identifies
        Not needed: three flags and a version identify nobody.
    """
    if len(value) < _OFFSET_AT + 2:
        return None
    (start,) = struct.unpack_from("<H", value, _OFFSET_AT)
    if len(value) < start + _ORDER_AT + 2:
        return None
    (version,) = struct.unpack_from("<f", value, start)
    if not _VERSIONS[0] <= version <= _VERSIONS[1]:
        return None
    newer = version >= _NEWER
    shift = _SHIFT if newer else 0
    order_at = shift + _ORDER_AT - (_ORDER_SHIFT if newer else 0)
    if len(value) < start + order_at + 2:
        return None
    made = bytearray(_WRITTEN)
    struct.pack_into("<H", made, _OFFSET_AT, _HEADER_AT)
    struct.pack_into("<f", made, _HEADER_AT, round(version, 3))
    for at, mask in ((shift + _POLARITY_AT, _POLARITY_FLAG), (shift + _EPI_AT, _EPI_FLAG)):
        (flags,) = struct.unpack_from("<H", value, start + at)
        struct.pack_into("<H", made, _HEADER_AT + at, flags & mask)
    (order,) = struct.unpack_from("<H", value, start + order_at)
    struct.pack_into("<H", made, _HEADER_AT + order_at, order if order <= _MOST_ORDER else 0)
    return bytes(made)
