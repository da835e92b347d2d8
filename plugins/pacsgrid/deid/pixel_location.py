"""Where a file's pixel data stands, and whether all of it is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, BinaryIO

from pydicom.uid import UID

from ..errors import HeldError
from .truncation import (
    ITEM_TAG,
    LONG_VRS,
    SEQUENCE_DELIMITER,
    UNDEFINED_LENGTH,
    ElementWalker,
    IrregularError,
    truncated_error,
)


@dataclass(frozen=True)
class PixelSpan:
    """A pixel data element: where it and its value begin in the file, where it ends.

    The end is that of the value, its delimiter included; `vr` is empty for implicit encoding.
    ``encapsulated`` says that it consists of fragments (PS3.5 A.4).
    """

    start: int
    end: int
    value: int
    tag: int
    vr: str
    encapsulated: bool = False


def locate_pixels(
    stream: BinaryIO, header: Any, start: int, little: bool, implicit: bool
) -> PixelSpan | None:
    """Locate the pixel data at `start`, where `check_whole` stopped (PS3.5 8, A.4).

    Returns None when the file ends there.

    Raises
    ------
    HeldError
        ``truncated``: the file ends before its pixel data does; ``no-pixels``: an image without
        any; ``malformed``: they are not what the header says.
    """
    return find_pixel_span(
        stream, start, little, implicit, is_image(header), expected_pixel_bytes(header)
    )


def find_pixel_span(
    stream: BinaryIO, start: int, little: bool, implicit: bool, image: bool, expected: int
) -> PixelSpan | None:
    """Locate the pixel data as `locate_pixels` does, with what it asks of the header."""
    try:
        return _span(ElementWalker(stream), start, little, implicit, image, expected)
    except IrregularError:  # the file ends inside the head of an element or fragment
        raise truncated_error() from None


def _span(
    walker: ElementWalker, start: int, little: bool, implicit: bool, image: bool, expected: int
) -> PixelSpan | None:
    if walker.size - start < 8:
        if image:
            raise HeldError(
                "no-pixels",
                "an image without pixel data (7FE0,0010): its origin has it, or sent the header "
                "alone",
            )
        return None
    tag, vr, value, length = walker.read_element(start, little, implicit)
    if not implicit and vr not in LONG_VRS:
        raise HeldError(
            "malformed",
            f"the pixel data ({tag >> 16:04X},{tag & 0xFFFF:04X}) has no VR of pixel data; have "
            "its origin write it anew",
        )
    if length == UNDEFINED_LENGTH:
        return PixelSpan(start, _end_of_items(walker, value), value, tag, vr.decode(), True)
    if value + length > walker.size:
        raise truncated_error()
    if length < expected:
        raise HeldError(
            "pixels-short",
            f"the pixel data has {length} bytes, its rows, columns and frames ask for {expected}; "
            "correct it at its origin",
        )
    return PixelSpan(start, value + length, value, tag, vr.decode())


def is_image(header: Any) -> bool:
    """Say whether an instance should have pixels, by its SOP class or its rows and columns."""
    image = UID(str(header.get("SOPClassUID", ""))).name.endswith("Image Storage")
    return image or bool(header.get("Rows") and header.get("Columns"))


def _end_of_items(walker: ElementWalker, at: int) -> int:
    while True:
        tag, _, value, length = walker.read_element(at, little=True, implicit=True)
        if tag == SEQUENCE_DELIMITER:
            return value
        if tag != ITEM_TAG or length == UNDEFINED_LENGTH:
            raise HeldError(
                "malformed",
                "the fragments of the pixel data do not follow each other (PS3.5 A.4); have its "
                "origin write it anew",
            )
        if value + length > walker.size:
            raise truncated_error()
        at = value + length


@dataclass(frozen=True)
class PixelLayout:
    """How the header describes the pixels; 0 where it does not."""

    rows: int = 0
    columns: int = 0
    samples: int = 1
    bits: int = 0
    frames: int = 1
    subsampled: bool = False

    @property
    def frame_bits(self) -> int:
        """Length of an uncompressed frame in bits."""
        bits = self.rows * self.columns * self.samples * self.bits
        return bits * 2 // 3 if self.subsampled else bits

    @property
    def frame_bytes(self) -> int:
        """Length of an uncompressed frame by itself."""
        return (self.frame_bits + 7) // 8

    @property
    def bytes(self) -> int:
        """Length of the uncompressed frames without padding (PS3.5 8.1.1)."""
        return (self.frame_bits * self.frames + 7) // 8

    @property
    def segments(self) -> int:
        """Number of segments of a frame in RLE (PS3.5 G.2)."""
        return self.samples * ((self.bits + 7) // 8)


def pixel_layout(header: Any) -> PixelLayout:
    """Return how a header describes its pixels."""
    try:
        frames = int(header.get("NumberOfFrames", 1) or 1)
        if frames < 0:
            return PixelLayout()
        return PixelLayout(
            int(header.Rows),
            int(header.Columns),
            int(header.get("SamplesPerPixel", 1) or 1),
            int(header.BitsAllocated),
            frames or 1,
            header.get("PhotometricInterpretation") == "YBR_FULL_422",
        )
    except (AttributeError, TypeError, ValueError):
        return PixelLayout()


def expected_pixel_bytes(header: Any) -> int:
    """Return how many bytes native pixel data has by the header, 0 when it does not tell."""
    try:
        bits = int(header.Rows) * int(header.Columns) * int(header.BitsAllocated)
        bits *= int(header.get("SamplesPerPixel", 1)) * int(header.get("NumberOfFrames", 1) or 1)
        if header.get("PhotometricInterpretation") == "YBR_FULL_422":
            bits = bits * 2 // 3
    except (AttributeError, TypeError, ValueError):
        return 0
    return bits // 8
