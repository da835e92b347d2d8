"""Locate a file's pixel data, and check that all of it is there."""

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
    """A pixel data element in a file.

    Attributes
    ----------
    start, end
        Position of the element, and of what follows it; a delimiter belongs to the element.
    value
        Position of its value.
    tag, vr
        Its tag, and its VR; empty in implicit VR.
    encapsulated
        Whether the value consists of fragments (PS3.5 A.4).
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
    """Locate the pixel data of a file (PS3.5 8, A.4).

    Parameters
    ----------
    stream
        The file.
    header
        Its header as a dataset.
    start
        Position that `check_complete` returned.
    little, implicit
        Byte order of the data set, and whether its elements have no VR.

    Returns
    -------
    PixelSpan or None
        None when the file ends at `start`, and need not have pixels.

    Raises
    ------
    HeldError
        ``truncated``: the file ends before its pixel data does. ``no-pixels``: an image without
        pixel data. ``pixels-short``: fewer bytes than the header says. ``malformed``: the element
        is none of pixel data.
    """
    return find_pixel_span(
        stream, start, little, implicit, is_image(header), expected_pixel_bytes(header)
    )


def find_pixel_span(
    stream: BinaryIO, start: int, little: bool, implicit: bool, image: bool, expected: int
) -> PixelSpan | None:
    """Locate the pixel data of a file, like `locate_pixels`, without a decoded header.

    Parameters
    ----------
    stream, start, little, implicit
        As for `locate_pixels`.
    image
        Whether the file must have pixels (`is_image`).
    expected
        How many bytes of uncompressed pixels it must have (`expected_pixel_bytes`).

    Returns
    -------
    PixelSpan or None

    Raises
    ------
    HeldError
        As `locate_pixels`.
    """
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
                "an image without pixel data (7FE0,0010): get it with its pixels from its origin, "
                "or leave it out if the origin has only its header",
            )
        return None
    tag, vr, value, length = walker.read_element(start, little, implicit)
    if not implicit and vr not in LONG_VRS:
        raise HeldError(
            "malformed",
            f"the pixel data ({tag >> 16:04X},{tag & 0xFFFF:04X}) has a VR that pixel data "
            "cannot have; have the file's origin write it anew",
        )
    if length == UNDEFINED_LENGTH:
        return PixelSpan(start, _end_of_items(walker, value), value, tag, vr.decode(), True)
    if value + length > walker.size:
        raise truncated_error()
    if length < expected:
        raise HeldError(
            "pixels-short",
            f"the pixel data has {length} bytes, but rows, columns and frames ask for {expected}; "
            "correct it at the file's origin",
        )
    return PixelSpan(start, value + length, value, tag, vr.decode())


def is_image(header: Any) -> bool:
    """Return whether an instance must have pixels, by its SOP class or its rows and columns."""
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
                "the fragments of the pixel data do not follow each other (PS3.5 A.4); have the "
                "file's origin write it anew",
            )
        if value + length > walker.size:
            raise truncated_error()
        at = value + length


@dataclass(frozen=True)
class PixelLayout:
    """What a header says of the pixels; 0 where it says nothing.

    Attributes
    ----------
    rows, columns, samples, frames
        Rows, Columns, SamplesPerPixel and NumberOfFrames.
    bits
        BitsAllocated.
    subsampled
        Whether two pixels share their colour (YBR_FULL_422).
    """

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
        """Length of a single uncompressed frame in bytes."""
        return (self.frame_bits + 7) // 8

    @property
    def bytes(self) -> int:
        """Length of all uncompressed frames in bytes, without padding (PS3.5 8.1.1)."""
        return (self.frame_bits * self.frames + 7) // 8

    @property
    def segments(self) -> int:
        """Number of segments of a frame compressed with RLE (PS3.5 G.2)."""
        return self.samples * ((self.bits + 7) // 8)


def pixel_layout(header: Any) -> PixelLayout:
    """Return what a header says of the pixels; an empty layout if it makes no sense."""
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
    """Return how many bytes uncompressed pixels must have; 0 if the header does not tell."""
    try:
        bits = int(header.Rows) * int(header.Columns) * int(header.BitsAllocated)
        bits *= int(header.get("SamplesPerPixel", 1)) * int(header.get("NumberOfFrames", 1) or 1)
        if header.get("PhotometricInterpretation") == "YBR_FULL_422":
            bits = bits * 2 // 3
    except (AttributeError, TypeError, ValueError):
        return 0
    return bits // 8
