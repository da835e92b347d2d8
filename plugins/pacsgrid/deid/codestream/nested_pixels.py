"""Clean pixel data inside a sequence item, such as an icon (PS3.3 C.7.6.1.1.6), in memory."""

from __future__ import annotations

from io import BytesIO

from ...errors import HeldError
from ..pixel_location import PixelLayout, PixelSpan
from .fragments import copy_fragments

_PIXEL_DATA = 0x7FE00010
_ITEM = b"\xfe\xff\x00\xe0"
_END = b"\xfe\xff\xdd\xe0\0\0\0\0"
# Any JPEG transfer syntax: the codestream's first bytes identify its format.
_ANY = "1.2.840.10008.1.2.4.50"


def clean_nested_pixels(value: bytes, fragments: bool, layout: PixelLayout) -> bytes | None:
    """Return the value of a pixel data element, with zeros for what the image does not need.

    Parameters
    ----------
    value
        The value, without the sequence delimiter.
    fragments
        Whether the value is encapsulated (PS3.5 A.4).
    layout
        The size of the image, from its header.

    Returns
    -------
    bytes or None
        None when the value cannot be parsed.
    """
    if not fragments:
        kept = min(layout.bytes or 0, len(value))
        return value[:kept] + bytes(len(value) - kept)
    if not value.startswith(_ITEM):
        return None
    whole = value + _END
    span = PixelSpan(0, len(whole), 0, _PIXEL_DATA, "OB", True)
    try:
        made = b"".join(copy_fragments(BytesIO(whole), span, _ANY, layout))
    except HeldError:
        return None
    return made[: -len(_END)]
