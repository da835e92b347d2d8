"""Which grammar a frame follows: by its first bytes where these say it, else by its syntax."""

from __future__ import annotations

from ..pixel_location import PixelLayout
from . import jp2, jpeg, jpeg2000, rle, video
from .frame_reader import FrameReader, Patches, unreadable

_RLE = "1.2.840.10008.1.2.5"
_UNCOMPRESSED = "1.2.840.10008.1.2.1.98"
# Nobody is hurt by a frame of so many samples.
_SMALL = 1 << 24


def is_video(syntax: str) -> bool:
    """Tell whether all fragments are one stream (PS3.5 8.2.5 to 8.2.8)."""
    tail = syntax.removeprefix("1.2.840.10008.1.2.4.").split(".")[0]
    return tail.isdigit() and 100 <= int(tail) <= 108


def find_removable(data: FrameReader, syntax: str, layout: PixelLayout) -> Patches:
    """Find what a frame, or a video, holds beside its image.

    Raises
    ------
    HeldError
        ``pixels-unreadable``: it follows no grammar that its transfer syntax may name.
    """
    first = data.read(0, 12)
    if is_video(syntax):
        return video.find_removable(data, syntax)
    if syntax == _RLE:
        return rle.find_removable(data, layout.segments, layout.rows * layout.columns)
    if syntax == _UNCOMPRESSED:
        patches = Patches()
        patches.take_out(layout.frame_bytes or data.size, data.size)
        return patches
    if first.startswith(jpeg.SOI):
        patches = jpeg.find_removable(data)
    elif first.startswith(jpeg2000.SOC):
        patches = jpeg2000.find_removable(data)
    elif first == jp2.SIGNATURE:
        patches = jp2.find_removable(data)
    else:
        raise unreadable("nothing here parses what a frame begins with")
    if patches.samples > max(_SMALL, 4 * layout.rows * layout.columns * layout.samples):
        # A decoder would take memory for all of them.
        raise unreadable("a frame says that it is far larger than Rows and Columns do")
    return patches
