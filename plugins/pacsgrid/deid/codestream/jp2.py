"""JP2 files in place of a codestream (ITU-T T.800 Annex I): PS3.5 8.2.4 has no place for them.

Decoders read them all the same. Boxes that say how to decode stay, others become free space.
"""

from __future__ import annotations

from . import jpeg2000
from .data import Data, Patches, unreadable

SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
_FIXED = {b"jP  ": 4, b"ihdr": 14}
_WHOLE = frozenset((b"bpcc", b"pclr", b"cmap", b"cdef"))


def needless(data: Data) -> Patches:
    """Find what the boxes hold beside the image; see `jpeg2000.needless`."""
    patches = Patches()
    if not _boxes(data, 0, data.size, patches):
        raise unreadable("a JP2 file has no codestream")
    return patches


def _boxes(data: Data, at: int, end: int, patches: Patches) -> int:
    """Go through boxes; return how many codestreams there were."""
    found = 0
    while at + 8 <= end:
        length, kind, head = data.number(at, 4), data.read(at + 4, 4), 8
        if length == 1:
            length, head = data.number(at + 8, 8), 16
        stop = at + length if length else end
        if stop < at + head or stop > end:
            if found:
                break  # what stands behind the last box
            raise unreadable("a box is cut short")
        start = at + head
        if kind == b"jp2c" and not found:
            found = 1
            inner = jpeg2000.needless(data, start, stop)
            patches.extend(inner)
            patches.samples = inner.samples
        elif kind == b"jp2h":
            _boxes(data, start, stop, patches)
        elif kind == b"colr" and data.number(start, 1) == 1:
            patches.zero(start + 7, stop)
        elif kind == b"colr":
            patches.zero(start + 3, stop)  # a profile, with its texts
        elif kind == b"ftyp":
            _brands(data, start, stop, patches)
        elif kind in _FIXED:
            patches.zero(start + _FIXED[kind], stop)
        elif kind not in _WHOLE:
            patches.zero(at + 4, at + 8, b"free")
            patches.zero(start, stop)
        at = stop
    patches.zero(at, end)
    return found


def _brands(data: Data, start: int, stop: int, patches: Patches) -> None:
    for at in range(start, stop, 4):
        if at != start + 4 and data.read(at, 4) not in (b"jp2 ", b"jpx ", b"jph ", b"jpxb"):
            patches.zero(at, min(at + 4, stop))
        if at == start + 4:
            patches.zero(at, min(at + 4, stop))
