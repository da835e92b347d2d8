"""Find what decoders of JPEG 2000 and HTJ2K do not need (ITU-T T.800 Annex A, T.814 Annex A).

Marker segments that decoding does not need become comments of zeros.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .frame_reader import FrameReader, Patches, unreadable

SOC = b"\xff\x4f"
_SIZ, _COD, _COC, _QCD, _QCC, _RGN, _POC, _CAP = (
    0x51, 0x52, 0x53, 0x5C, 0x5D, 0x5E, 0x5F, 0x50,
)  # fmt: skip
_TLM, _PLT, _PPM, _PPT, _CRG, _COM = 0x55, 0x58, 0x60, 0x61, 0x63, 0x64
_SOT, _SOD, _EOC = 0x90, 0x93, 0xD9
# Part 2's transforms and their arrays (T.801 Annex A), where SIZ declares them.
_PART2 = frozenset(range(0x70, 0x7B))
_NEEDED = frozenset((_SIZ, _COD, _COC, _QCD, _QCC, _RGN, _POC, _CAP, _PPM, _PPT))
_END = re.compile(rb"\xff\xd9")
_FEW = 1 << 20


@dataclass
class _Stream:
    """Facts from the headers of a codestream, and positions of what is judged at its end."""

    components: int = 1
    part2: bool = False
    levels: int = 0
    steps: list[tuple[int, int, int]] = field(default_factory=list)  # start, end, style
    tlm: list[tuple[int, int]] = field(default_factory=list)  # marker, end
    parts: list[tuple[int, int]] = field(default_factory=list)  # tile, length


def find_removable(data: FrameReader, start: int = 0, end: int = -1) -> Patches:
    """Find what a codestream holds beside its image.

    Parameters
    ----------
    data
        The frame.
    start, end
        The offset of the codestream in the frame, and the offset after it. By default it is the
        whole frame.

    Returns
    -------
    Patches
        The bytes to overwrite.

    Raises
    ------
    HeldError
        ``pixels-unreadable``: the data is not a JPEG 2000 codestream, or a header is cut short.
    """
    end = data.size if end < 0 else end
    patches, stream = Patches(), _Stream()
    if data.read(start, 2) != SOC:
        raise unreadable("a frame does not begin with a JPEG 2000 marker")
    at = _header(data, start + 2, end, stream, patches, _SOT)
    while at < end and data.read(at, 2) == b"\xff\x90":
        at = _tile_part(data, at, end, stream, patches)
    if not stream.parts:
        raise unreadable("a codestream has no image")
    stop = at + 2 if data.read(at, 2) == b"\xff\xd9" else at
    if end - stop > 1:  # more than a byte of padding
        patches.take_out(stop, end)
    for marker, stop in stream.tlm:
        if not _true_lengths(data, marker, stop, stream):
            _comment(marker, stop, patches)
    for first, stop, style in stream.steps:
        _trim_steps(first, stop, style, stream, patches)
    return patches


def _comment(at: int, end: int, patches: Patches) -> None:
    """Turn a marker segment into a comment of zeros with the same length."""
    patches.take_out(at + 1, at + 2, b"\x64")
    patches.take_out(at + 4, end)


def _header(
    data: FrameReader, at: int, end: int, stream: _Stream, patches: Patches, last: int
) -> int:
    """Read the marker segments of a header; return the offset of its last marker."""
    packets: list[tuple[int, int]] = []
    while at + 2 <= end:
        code = data.read(at, 2)
        if code[:1] != b"\xff":
            raise unreadable("a marker is missing in a codestream's header")
        marker = code[1]
        if marker == last:
            _check_packets(data, packets, at, end, patches)
            return at
        if 0x30 <= marker <= 0x3F:
            at += 2
            continue
        stop = at + 2 + data.read_int(at + 2)
        if stop < at + 4 or stop > end or marker in (_SOT, _SOD, _EOC):
            raise unreadable("the header of a codestream is cut short")
        if marker == _COM:
            # The registration value of the comment stays (two bytes, T.800 A.9.2).
            patches.take_out(at + 6, stop)
        elif marker == _TLM:
            stream.tlm.append((at, stop))
        elif marker == _PLT:
            packets.append((at, stop))
        elif marker in _NEEDED or (stream.part2 and marker in _PART2):
            _needed(data, at, stop, marker, stream, patches)
        else:
            _comment(at, stop, patches)
        at = stop
    raise unreadable("the header of a codestream is cut short")


def _needed(
    data: FrameReader, at: int, stop: int, marker: int, stream: _Stream, patches: Patches
) -> None:
    body = data.read(at + 4, stop - at - 4)
    wide = 2 if stream.components > 256 else 1
    used = len(body)
    if marker == _SIZ:
        stream.components = int.from_bytes(body[34:36], "big")
        stream.part2 = bool(body[0] & 0x80) if body else False
        used = 36 + 3 * stream.components
        right, bottom, left, top = (int.from_bytes(body[n : n + 4], "big") for n in (2, 6, 10, 14))
        patches.samples = max(0, right - left) * max(0, bottom - top) * stream.components
    elif marker == _CAP:
        used = 4 + 2 * int.from_bytes(body[:4], "big").bit_count()
    elif marker in (_COD, _COC):
        # Scod, four bytes of SGcod, or Ccoc and Scoc; then SPcod (T.800 A.6.1, A.6.2).
        front = 5 if marker == _COD else wide + 1
        style = body[0 if marker == _COD else wide] if len(body) > wide else 0
        levels = body[front] if len(body) > front else 0
        stream.levels = max(stream.levels, levels)
        if levels <= 32:
            used = front + 5 + (levels + 1 if style & 1 else 0)
    elif marker in (_QCD, _QCC):
        front = 0 if marker == _QCD else wide
        style = body[front] & 31 if len(body) > front else 0
        stream.steps.append((at + 5 + front, stop, style))
    elif marker == _RGN:
        used = wide + 2
    elif marker == _POC:
        one = 5 + 2 * wide
        used = len(body) - len(body) % one
    patches.take_out(at + 4 + used, stop)


def _trim_steps(start: int, stop: int, style: int, stream: _Stream, patches: Patches) -> None:
    """Remove quantisation steps beyond the deepest decomposition level (T.800 A.6.4)."""
    if stream.part2 or stream.levels > 32:
        return
    bands = 3 * stream.levels + 1
    used = bands if style == 0 else 2 if style == 1 else 2 * bands
    patches.take_out(start + used, stop)


def _tile_part(data: FrameReader, at: int, end: int, stream: _Stream, patches: Patches) -> int:
    """Read a tile-part (T.800 A.4.2); return the offset after it."""
    length = data.read_int(at + 6, 4)
    tile = data.read_int(at + 4)
    first = at + 2 + data.read_int(at + 2)
    if first != at + 12:
        raise unreadable("the header of a tile-part has a wrong length")
    stop = at + length if length else end
    if length and stop > end:
        stop = end
    body = _header(data, first, stop, stream, patches, _SOD) + 2
    if not length or at + length > end:
        # The tile-part reaches to the end marker, which coded data cannot contain.
        found = data.search(_END, body, 2, end)
        stop = found if found >= 0 else end
    stream.parts.append((tile, stop - at))
    return stop


def _check_packets(
    data: FrameReader, packets: list[tuple[int, int]], sod: int, end: int, patches: Patches
) -> None:
    """Remove packet lengths (T.800 A.7.3) that are malformed or exceed the tile-part."""
    for at, stop in packets:
        body = data.read(at + 5, stop - at - 5)
        total = value = 0
        for byte in body:
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                total, value = total + value, 0
        if not body or body[-1] >= 0x80 or sod + 2 + total > end:
            _comment(at, stop, patches)


def _true_lengths(data: FrameReader, at: int, stop: int, stream: _Stream) -> bool:
    """Return whether the tile-part lengths (T.800 A.7.1) are those of actual tile-parts."""
    style = data.read_int(at + 5, 1)
    wide, long = style >> 4 & 3, 4 if style & 0x40 else 2
    body = data.read(at + 6, stop - at - 6)
    if wide == 3 or not body or len(body) % (wide + long) or style & 0x8F:
        return False
    lengths = {length for _, length in stream.parts}
    return all(
        int.from_bytes(body[n + wide : n + wide + long], "big") in lengths
        for n in range(0, len(body), wide + long)
    )
