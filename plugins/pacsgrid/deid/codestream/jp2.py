"""Parse JP2 files in place of a codestream (ITU-T T.800 Annex I).

PS3.5 8.2.4 does not allow them, but decoders read them. Boxes that decoding needs stay, the others
become free space.
"""

from __future__ import annotations

from . import jpeg2000
from .boxes import HEAD, read_box
from .frame_reader import FrameReader, Patches, unreadable

SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
_FIXED = {b"jP  ": 4, b"ihdr": 14}
_WHOLE = frozenset((b"bpcc", b"pclr", b"cmap", b"cdef"))


def find_removable(data: FrameReader) -> Patches:
    """Return what the boxes hold beside the image; see `jpeg2000.find_removable`."""
    patches = Patches()
    if not _boxes(data, 0, data.size, patches):
        raise unreadable("a JP2 file has no codestream")
    return patches


def _boxes(data: FrameReader, at: int, end: int, patches: Patches) -> int:
    """Collect the patches of boxes; return the number of codestreams found."""
    found = 0
    while at + HEAD <= end:
        box = read_box(data, at, end)
        if box is None:
            if found:
                break  # data after the last box
            raise unreadable("a box of a JP2 file is cut short")
        kind, start, stop = box
        if kind == b"jp2c" and not found:
            found = 1
            inner = jpeg2000.find_removable(data, start, stop)
            patches.extend(inner)
            patches.samples = inner.samples
        elif kind == b"jp2h":
            _boxes(data, start, stop, patches)
        elif kind == b"colr" and data.read_int(start, 1) == 1:
            patches.take_out(start + 7, stop)
        elif kind == b"colr":
            patches.take_out(start + 3, stop)  # an ICC profile, which contains texts
        elif kind == b"ftyp":
            _brands(data, start, stop, patches)
        elif kind in _FIXED:
            patches.take_out(start + _FIXED[kind], stop)
        elif kind not in _WHOLE:
            patches.take_out(at + 4, at + 8, b"free")
            patches.take_out(start, stop)
        at = stop
    patches.take_out(at, end)
    return found


def _brands(data: FrameReader, start: int, stop: int, patches: Patches) -> None:
    for at in range(start, stop, 4):
        if at != start + 4 and data.read(at, 4) not in (b"jp2 ", b"jpx ", b"jph ", b"jpxb"):
            patches.take_out(at, min(at + 4, stop))
        if at == start + 4:
            patches.take_out(at, min(at + 4, stop))
