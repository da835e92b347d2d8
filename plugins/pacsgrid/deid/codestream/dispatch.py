"""Choose the grammar of a frame, by its first bytes or by the transfer syntax."""

from __future__ import annotations

from ..pixel_location import PixelLayout
from . import jp2, jpeg, jpeg2000, rle, video
from .frame_reader import FrameReader, Patches, unreadable

_RLE = "1.2.840.10008.1.2.5"
_UNCOMPRESSED = "1.2.840.10008.1.2.1.98"
# A frame of this many samples is small enough to decode, whatever Rows and Columns say.
_SMALL = 1 << 24


def is_video(syntax: str) -> bool:
    """Return whether a syntax is video, in one stream of all fragments (PS3.5 8.2.5 to 8.2.8)."""
    tail = syntax.removeprefix("1.2.840.10008.1.2.4.").split(".")[0]
    return tail.isdigit() and 100 <= int(tail) <= 108


def find_removable(data: FrameReader, syntax: str, layout: PixelLayout) -> Patches:
    """Find what a frame, or a video, holds beside its image.

    Parameters
    ----------
    data
        The frame, or the whole video.
    syntax
        The transfer syntax UID.
    layout
        The size of the image, from its header.

    Returns
    -------
    Patches
        The bytes to overwrite.

    Raises
    ------
    HeldError
        ``pixels-unreadable``: the data follows none of the known formats, or declares an image
        far larger than the header does.
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
        raise unreadable("a frame begins like no format that pacsgrid knows")
    if patches.samples > max(_SMALL, 4 * layout.rows * layout.columns * layout.samples):
        # A decoder would allocate memory for all of them.
        raise unreadable("a frame declares an image far larger than Rows and Columns say")
    return patches
