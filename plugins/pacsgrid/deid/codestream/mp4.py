"""Find what decoders of MP4 files do not need (ISO/IEC 14496-12, PS3.5 8.2.7).

Boxes that locate and describe samples stay, the others become free space.
"""

from __future__ import annotations

from .boxes import HEAD, read_box
from .frame_reader import FrameReader, Patches, unreadable

_NESTED = frozenset(
    (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"dinf", b"edts", b"moof", b"traf", b"mvex")
)
_WHOLE = frozenset(
    (
        b"ftyp", b"mdat", b"vmhd", b"smhd", b"nmhd", b"dref", b"elst", b"stts", b"ctts", b"stsc",
        b"stsz", b"stz2", b"stco", b"co64", b"stss", b"stsh", b"sdtp", b"cslg", b"sgpd", b"sbgp",
        b"mfhd", b"tfhd", b"trun", b"tfdt", b"trex", b"mehd",
    )
)  # fmt: skip
_DATED = frozenset((b"mvhd", b"tkhd", b"mdhd"))
_DEPTH = 8


def find_removable(data: FrameReader) -> Patches:
    """Find boxes, dates and names that decoding does not need.

    Raises
    ------
    HeldError
        ``pixels-unreadable``: a box is cut short, or there is no media data (``mdat``).
    """
    patches = Patches()
    if not _boxes(data, 0, data.size, patches, 0):
        raise unreadable("an MP4 file has no media data")
    return patches


def _boxes(data: FrameReader, at: int, end: int, patches: Patches, depth: int) -> int:
    media = 0
    while at + HEAD <= end:
        box = read_box(data, at, end)
        if box is None:
            if media:
                break  # data after the last box
            raise unreadable("a box of an MP4 file is cut short")
        kind, start, stop = box
        media += kind == b"mdat"
        if kind in _NESTED and depth < _DEPTH:
            _boxes(data, start, stop, patches, depth + 1)
        elif kind in _DATED:
            # Creation and modification time, of 4 bytes each in version 0 (8.2.2).
            patches.take_out(start + 4, start + (20 if data.read_int(start, 1) else 12))
        elif kind == b"hdlr":
            patches.take_out(start + 24, stop)  # its name (8.4.3)
        elif kind == b"stsd":
            _descriptions(data, start, stop, patches)
        elif kind not in _WHOLE:
            patches.take_out(at + 4, at + 8, b"free")
            patches.take_out(start, stop)
        at = stop
    patches.take_out(at, end)
    return media


def _descriptions(data: FrameReader, start: int, stop: int, patches: Patches) -> None:
    """Remove the compressor's name from the sample descriptions (12.1.3)."""
    at = start + 8
    while at + 8 <= stop and (length := data.read_int(at, 4)) >= 8:
        kind = data.read(at + 4, 4)
        if kind[:3] in (b"avc", b"hvc", b"hev", b"mp4") and kind != b"mp4a":
            patches.take_out(at + 50, min(at + 82, at + length))
        at += length
