"""Read the size of a compressed frame from its codestream, without decoding it."""

from __future__ import annotations

import struct

# Bytes of memory that JPEG 2000 decoders use for each sample, at least, whatever its bits.
_J2K_WORKING = 2
_SOC, _SIZ = b"\xff\x4f\xff\x51", struct.Struct(">IIII")
_SEARCHED = 64 << 10
_ENDLESS = 1 << 62
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {
    0xC4,
    0xC8,
    0xCC,
}  # start-of-frame markers, with that of JPEG-LS


def codestream_size(data: bytes) -> tuple[int, int]:
    """Return the number of samples in a frame, and the bytes that a decoder needs for each.

    It reads JPEG (ITU-T T.81 B.2.2), JPEG-LS (T.87 C.2.2), JPEG 2000 and HTJ2K (T.800 A.5.1).
    Both numbers are 0 for other codestreams, such as RLE: there the size in the dataset counts.
    A JPEG that does not declare its number of lines counts as infinitely large, because some
    decoders allocate memory without end for it.
    """
    if data[:2] == b"\xff\xd8":
        return _jpeg(data) or _ENDLESS, 1
    start = data.find(_SOC, 0, _SEARCHED)
    if start >= 0 and len(data) >= start + 42:
        right, below, left, above = _SIZ.unpack_from(data, start + 8)
        (components,) = struct.unpack_from(">H", data, start + 40)
        return max(0, right - left) * max(0, below - above) * components, _J2K_WORKING
    return 0, 0


def _jpeg(data: bytes) -> int:
    """Return the samples of the largest frame that a JPEG or JPEG-LS codestream declares."""
    at, most = 2, 0
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            at = data.find(b"\xff", at)  # entropy-coded data after the first scan
            if at < 0:
                break
            continue
        marker = data[at + 1]
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD9:
            at += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker in _FRAMES and at + 10 <= len(data):
            rows, columns, components = struct.unpack_from(">HHB", data, at + 5)
            most = max(most, rows * columns * components)
        if marker == 0xDA and most:
            break
        at += 2 + length
    return most
