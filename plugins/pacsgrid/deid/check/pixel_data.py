"""Check that pixel data is the source's, and that it holds no readable text beside the image.

The anonymiser may zero bytes that are not part of the image. The checker verifies this without
parsing the codestream: each changed byte must be zero (or a listed marker), changed frames must
decode to the same pixels, and the rest must hold neither identifying values nor readable text.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import UID

from ...errors import HeldError
from .byte_search import ByteSearch, printable_runs
from .reader import Header, read_header

# In bytes; small enough for the allocator to reuse memory.
_CHUNK = 1 << 16
_DEFLATED = "1.2.840.10008.1.2.1.99"
# Video (MPEG-2 and later): each sample may hold text that the encoder wrote.
_VIDEO = "1.2.840.10008.1.2.4.10"
_RLE, _UNCOMPRESSED = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.1.98"
_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
# Values that a changed byte may have: zero, the marker of a JPEG 2000 comment (T.800 A.9.2), the
# type of a free-space box (ISO/IEC 14496-12 8.1.2), and the last coefficient of a sequential JPEG
# scan (T.81 Table B.3).
_MARKS = np.frombuffer(b"\0\x64free\x3f", np.uint8)
# About this many pixels are decoded per file, but at least _FRAMES frames, spread over its length.
# Frames of more than _LARGEST pixels are not decoded.
_DECODED, _FRAMES, _LARGEST = 1 << 25, 4, 1 << 26
_MOST = 1 << 16
# JPEG and JPEG-LS: the frame header with its number of lines, and the DNL segment that may
# define it later.
_JPEG = ("1.2.840.10008.1.2.4.5", "1.2.840.10008.1.2.4.7", "1.2.840.10008.1.2.4.8")
_LINES = re.compile(
    rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf\xf7]\0[\x0b-\x20][\x02-\x10](?P<header>..)"
    rb"|\xff\xdc\0\x04(?P<later>..)",
    re.DOTALL,
)
_LONGEST = 7  # bytes that the pattern matches at most

_REPORT = "report it to pacsgrid's authors"
_DIFFERS = f"the pixel data differs from the source; {_REPORT}"
_BROKEN = f"the fragments of the pixel data are incomplete or out of order; {_REPORT}"


def check_pixels(
    old: BinaryIO, before: Header, new: BinaryIO, after: Header, raw: ByteSearch
) -> dict[bytes, int]:
    """Refuse pixel data that is not the source's, or that holds something beside the image.

    Parameters
    ----------
    old
        The source file, open for reading.
    before
        Its header.
    new
        The result file, open for reading.
    after
        Its header.
    raw
        The search for the study's identifying values in bytes.

    Returns
    -------
    dict
        What was removed from compressed frames: the key is a digest of the removed bytes and
        their positions, the value the number, from 0, of a frame that lost them. `check_decoded`
        proves that they were not part of the image.

    Raises
    ------
    HeldError
        ``pixels-changed``, ``not-clean`` or ``identity-left``.
    """
    if before.syntax == _DEFLATED:
        return {}
    if (before.pixels is None) != (after.pixels is None):
        raise HeldError(
            "pixels-changed", f"only one of source and result has pixel data; {_REPORT}"
        )
    if before.pixels is None or after.pixels is None:
        return {}
    if after.pixel_length is None:
        return _compressed(old, before, new, after, raw)
    if after.pixel_value + after.pixel_length != after.size:
        raise HeldError("not-clean", f"the result has data after the pixel data; {_REPORT}")
    if before.pixel_length != after.pixel_length:
        raise HeldError(
            "pixels-changed", f"the length of the pixel data differs from the source; {_REPORT}"
        )
    pixels = min(_pixel_bytes(before, after.pixel_length), after.pixel_length)
    new.seek(after.pixel_value + pixels)
    left = after.pixel_length - pixels
    while left > 0:
        chunk = new.read(min(_CHUNK, left))
        if not chunk or chunk.strip(b"\0"):
            raise HeldError(
                "not-clean", f"the pixel data holds other data after the last pixel; {_REPORT}"
            )
        left -= len(chunk)
    old.seek(before.pixels)
    new.seek(after.pixels)
    _same(old, new, after.pixel_value - after.pixels + pixels)
    return {}


def _pixel_bytes(header: Header, there: int) -> int:
    """Return how many bytes the pixels take (PS3.5 8.1.1), 0 without rows and columns.

    Where NumberOfFrames cannot be read, return `there`, the length of the pixel data.
    """
    rows, columns, bits = (header.number(tag) for tag in (0x00280010, 0x00280011, 0x00280100))
    if not (rows and columns and bits):
        return 0
    frames = header.elements.get(0x00280008)
    text = frames.value.strip(b"\0 ").replace(b",", b".") if frames is not None else b""
    if text.strip(b"+.0123456789"):
        return there
    count = int(float(text or 1))
    total = rows * columns * bits * (header.number(0x00280002) or 1) * (count or 1)
    photometric = header.elements.get(0x00280004)
    if photometric is not None and photometric.value.strip(b"\0 ") == b"YBR_FULL_422":
        # Some writers declare subsampled colour but store it in full.
        whole = -(-total // 8)
        total = total if 0 <= there - whole <= 1 else total * 2 // 3
    # Rounded up to a word: with big endian words the padding byte precedes the last pixel.
    return -(-total // 16) * 2


def _same(old: BinaryIO, new: BinaryIO, left: int) -> None:
    while left:
        made = new.read(min(_CHUNK, left))
        if not made or old.read(len(made)) != made:
            raise HeldError("pixels-changed", _DIFFERS)
        left -= len(made)


def _compressed(
    old: BinaryIO, before: Header, new: BinaryIO, after: Header, raw: ByteSearch
) -> dict[bytes, int]:
    """Compare fragments (PS3.5 A.4), and search them for identifying values as one stream."""
    if before.pixel_length is not None:
        raise HeldError(
            "pixels-changed", f"the result is compressed, but the source is not; {_REPORT}"
        )
    if not after.number(0x00280010) or not after.number(0x00280011):
        raise HeldError(
            "not-clean",
            "Rows or Columns (0028,0010), (0028,0011) does not say how large the compressed image "
            "is; correct it at the file's origin",
        )
    changed: dict[bytes, int] = {}
    pieces = _fragments(old, before, new, after, changed)
    found = raw.search_stream(_readable(pieces, after), after.size - after.pixel_value)
    if found:
        raise HeldError(
            "identity-left",
            f"text or a comment inside the pixel data holds {found} from the study's own headers; "
            "have the file written anew without it at its origin",
        )
    return _to_decode(changed, after)


def _fragments(
    old: BinaryIO, before: Header, new: BinaryIO, after: Header, changed: dict[bytes, int]
) -> Iterator[bytes]:
    """Yield the contents of the result's fragments while comparing them with the source's."""
    was, at, first, number = before.pixel_value, after.pixel_value, True, 0
    while at + 8 <= after.size:
        old.seek(was)
        new.seek(at)
        head, source = new.read(8), old.read(8)
        length = int.from_bytes(head[4:8], "little")
        if head[:4] == _END and source[:4] == _END:
            if at + 8 != after.size or length:
                raise HeldError("not-clean", f"the result has data after the pixel data; {_REPORT}")
            return
        dropped = first and not length
        if source[:4] != head[:4] or (source != head and not dropped):
            raise HeldError(
                "pixels-changed",
                f"the fragments of the pixel data differ in length from the source; {_REPORT}",
            )
        if head[:4] != _ITEM or at + 8 + length > after.size:
            raise HeldError("not-clean", _BROKEN)
        left, taken = length, hashlib.blake2b(digest_size=16)
        lost = False
        while left:
            made = new.read(min(_CHUNK, left))
            there = old.read(len(made))
            if not made or len(there) != len(made):
                raise HeldError("not-clean", _BROKEN)
            if there != made:
                if first:
                    raise HeldError(
                        "pixels-changed",
                        f"the basic offset table differs from the source; {_REPORT}",
                    )
                _only_taken_out(there, made, length - left, taken)
                lost = True
            yield made
            left -= len(made)
        if lost and len(changed) < _MOST:
            changed.setdefault(taken.digest(), number)
        number += not first
        was, at = was + 8 + int.from_bytes(source[4:8], "little"), at + 8 + length
        first = False
    raise HeldError("not-clean", _BROKEN)


def _only_taken_out(before: bytes, after: bytes, at: int, taken: hashlib.blake2b) -> None:
    """Refuse changed bytes that are not zero now; add the old bytes and positions to `taken`."""
    one, other = np.frombuffer(before, np.uint8), np.frombuffer(after, np.uint8)
    places = np.flatnonzero(one != other)
    if not np.isin(other[places], _MARKS).all():
        raise HeldError("pixels-changed", _DIFFERS)
    taken.update((places + at).tobytes())
    taken.update(one[places].tobytes())


def _readable(pieces: Iterator[bytes], after: Header) -> Iterator[bytes]:
    """Yield the pieces again, and refuse readable text in them.

    Compressed data does not look like text. RLE, uncompressed frames and video may, and are
    not searched.
    """
    if after.syntax in (_RLE, _UNCOMPRESSED) or after.syntax.startswith(_VIDEO):
        yield from pieces
        return
    longest = 24 + math.ceil((24 + math.log2(max(after.size, 2))) / math.log2(256 / 95))
    carried = b""
    for piece in pieces:
        data = carried + piece.translate(None, b"\0")
        if any(_is_text(run) for run in printable_runs(data, longest)):
            raise HeldError(
                "not-clean",
                "the compressed pixel data contains readable text; have the file written anew "
                "without it at its origin",
            )
        carried = data[-4 * longest :]
        yield piece


def _is_text(run: bytes) -> bool:
    """Return whether printable bytes are text: varied letters, unlike tables and patterns."""
    values = np.frombuffer(run, np.uint8)
    falls = float((values[1:] < values[:-1]).mean())
    letters = sum(chr(byte).isalnum() or byte == 32 for byte in run)
    return len(set(run)) >= 10 and falls >= 0.25 and letters >= 0.7 * len(run)


def _to_decode(changed: dict[bytes, int], header: Header) -> dict[bytes, int]:
    """Return the changes to prove by decoding: all, or a selection spread over the frames."""
    frames = header.elements.get(0x00280008)
    text = frames.value.strip(b"\0 ") if frames is not None else b""
    count = (int(text) if text.isdigit() else 1) or 1
    samples = header.number(0x00280002) or 1
    pixels = header.number(0x00280010) * header.number(0x00280011) * samples
    if not pixels or pixels > _LARGEST:
        return {}
    wanted = max(_FRAMES, _DECODED // pixels)
    every = -(-len(changed) // wanted) or 1
    return {digest: min(number, count - 1) for digest, number in list(changed.items())[::every]}


def check_decoded(source: Path, result: Path, frames: Iterable[int]) -> None:
    """Refuse compressed frames that no longer decode to the source's pixels.

    A frame that no decoder reads in the source is not compared.

    Parameters
    ----------
    source
        The file before anonymisation.
    result
        The file after it.
    frames
        The numbers, from 0, of the frames to decode.

    Raises
    ------
    HeldError
        ``pixels-changed``: a frame cannot be decoded, or has other pixels.
    """
    numbers = sorted(set(frames))
    if not numbers or _is_endless(source):
        return
    decoders = _decoders(result)
    for number in numbers:
        # The same decoder reads both, because decoders round differently.
        for plugin in decoders:
            try:
                before = pixel_array(source, index=number, raw=True, decoding_plugin=plugin)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException:  # a panic in a Rust decoder is not an Exception
                continue
            try:
                after = pixel_array(result, index=number, raw=True, decoding_plugin=plugin)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:
                raise HeldError(
                    "pixels-changed",
                    f"frame {number + 1} can be decoded in the source but not in the result "
                    f"({type(error).__name__}); {_REPORT}",
                ) from None
            if before.shape != after.shape or not np.array_equal(before, after):
                raise HeldError(
                    "pixels-changed",
                    f"frame {number + 1} decodes to other pixels than in the source; {_REPORT}",
                )
            break


def _is_endless(path: Path) -> bool:
    """Return whether a JPEG frame has no number of lines (T.81 B.2.2, B.2.5).

    Some decoders never stop reading such a frame and exhaust the memory.
    """
    header = read_header(path)
    if not header.syntax.startswith(_JPEG):
        return False
    open_ended, carried = False, b""
    with path.open("rb") as file:
        file.seek(header.pixel_value)
        while chunk := file.read(_CHUNK):
            for found in _LINES.finditer(carried + chunk):
                if found.end() <= len(carried):
                    continue  # seen in the chunk before
                if found["later"] is not None:
                    open_ended = open_ended and found["later"] == b"\0\0"
                elif open_ended:
                    return True
                else:
                    open_ended = found["header"] == b"\0\0"
            carried = (carried + chunk)[1 - _LONGEST :]
    return open_ended


def _decoders(path: Path) -> tuple[str, ...]:
    try:
        syntax = UID(read_header(path).syntax)
        return tuple(get_decoder(syntax).available_plugins)
    except NotImplementedError:
        return ()
