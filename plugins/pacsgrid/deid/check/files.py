"""What stands outside the elements: preamble, file meta, pixel data, trailing bytes, the name."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from ...errors import HeldError
from .findings import identity_left, name
from .identity import Identity
from .reader import Header
from .search import Search, dates_in
from .uids import is_standard, is_valid

# PS3.10 7.1 without the senders' AE titles and private information.
_META = frozenset(
    (0x00020000, 0x00020001, 0x00020002, 0x00020003, 0x00020010, 0x00020012, 0x00020013)
)
# Small enough to come from memory that is there already.
_CHUNK = 1 << 16
# Comments stand in front of the coded data; a writer with more of them is held.
_FRONT = 1 << 18
_DEFLATED = "1.2.840.10008.1.2.1.99"


def check_structure(made: Header) -> None:
    """Refuse what could carry something unseen, and a file meta that belongs to another object."""
    if made.preamble.strip(b"\0"):
        raise HeldError("not-clean", "the preamble is not empty")
    for tag in made.meta.keys() - _META:
        raise HeldError("not-clean", f"the file meta holds {name(tag)}")
    for there, here in ((0x00020002, 0x00080016), (0x00020003, 0x00080018)):
        meta, element = made.meta.get(there), made.elements.get(here)
        if meta is None or element is None or not meta.value.strip(b"\0 "):
            raise HeldError("required-missing", f"{name(there)} or {name(here)} is missing")
        if meta.value.strip(b"\0 ") != element.value.strip(b"\0 "):
            raise HeldError("reference-changed", f"{name(there)} and {name(here)} differ")
    syntax = made.meta.get(0x00020010)
    if syntax is None or not is_standard(syntax.value.strip(b"\0 ")):
        raise HeldError("not-clean", "the transfer syntax (0002,0010) is not a standard one")


def check_name(result: Path, search: Search, identity: Identity, keeps_uids: bool) -> None:
    """Refuse a file or folder name of the result that identifies."""
    for part in (result.parent.name, result.stem):
        if part.encode() in identity.origins:
            if keeps_uids and is_valid(part.encode()):
                continue
            raise identity_left("the file's name", "an original UID")
        # A derived UID has 39 digits: any short number stands in some of them.
        if not part.startswith("2.25.") and (
            search.text(part) or search.births.intersection(dates_in(part))
        ):
            raise identity_left("the file's name", "an identifying value")


def check_pixels(
    old: BinaryIO, before: Header, new: BinaryIO, after: Header, search: Search
) -> None:
    """Refuse pixel data that is not the source's, byte by byte, and what stands behind it."""
    if before.syntax == _DEFLATED:
        return
    if (before.pixels is None) != (after.pixels is None):
        raise HeldError("pixels-changed", "the pixel data was lost")
    if before.pixels is None or after.pixels is None:
        return
    old.seek(before.pixels)
    new.seek(after.pixels)
    left = after.size - after.pixels
    if after.pixel_length is not None:
        if after.pixel_value + after.pixel_length != after.size:
            raise HeldError("not-clean", "something stands behind the pixel data")
        if before.pixel_length != after.pixel_length:
            raise HeldError("pixels-changed", "the pixel data has another length")
    else:
        _check_fragments(old, before, new, after, search)
        return
    _same(old, new, left)


def _check_fragments(
    old: BinaryIO, before: Header, new: BinaryIO, after: Header, search: Search
) -> None:
    """Compare compressed frames but for their comments, and look into those of the result.

    Comments: JPEG and JPEG-LS, ITU-T T.81 B.2.4.5 and B.2.4.6; JPEG 2000, T.800 A.9.2.
    """
    was, at = before.pixel_value, after.pixel_value
    while at + 8 <= after.size:
        old.seek(was)
        new.seek(at)
        head = new.read(8)
        length = int.from_bytes(head[4:8], "little")
        if old.read(8) != head:
            raise HeldError("pixels-changed", "the pixel data's fragments are not the source's")
        if head[:4] == b"\xfe\xff\xdd\xe0":
            if at + 8 != after.size:
                raise HeldError("not-clean", "something stands behind the pixel data")
            return
        if head[:4] != b"\xfe\xff\x00\xe0" or at + 8 + length > after.size:
            raise HeldError("not-clean", "the pixel data's fragments are broken")
        front = min(length, _FRONT)
        source, comments = _without_comments(old.read(front))
        made, comments = _without_comments(new.read(front))
        for comment in comments:
            if found := search.bytes(comment):
                raise identity_left("a comment inside the pixel data", found)
        if source != made:
            raise HeldError("pixels-changed", "the pixel data is not the source's")
        _same(old, new, length - front)
        was, at = was + 8 + length, at + 8 + length
    raise HeldError("not-clean", "the pixel data's fragments are broken")


def _same(old: BinaryIO, new: BinaryIO, left: int) -> None:
    while left:
        made = new.read(min(_CHUNK, left))
        if not made or old.read(len(made)) != made:
            raise HeldError("pixels-changed", "the pixel data is not the source's")
        left -= len(made)


def _without_comments(data: bytes) -> tuple[bytes, list[bytes]]:
    """Part a frame's front from its comment and application segments."""
    if data[:2] not in (b"\xff\xd8", b"\xff\x4f"):
        return data, []
    kept, comments, at = [data[:2]], [], 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in (0xDA, 0x90, 0x93):  # the coded data begins: SOS, SOT, SOD
            break
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in (0xFE, 0x64) or 0xE0 <= marker <= 0xEF:
            comments.append(data[at + 4 : end])
            kept.append(data[at : at + 4])
        else:
            kept.append(data[at:end])
        at = end
    return b"".join([*kept, data[at:]]), comments
