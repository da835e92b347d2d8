"""Clean the pixel data of one file (PS3.15 E.3.1) and declare it in the header."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, BinaryIO

from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from ...errors import HeldError
from ...review_model import BlankRegion
from ..faces.marks import FileFace, declare_removal, native_values
from ..pixel_location import PixelSpan
from .blanking import blank_bits, blank_native, blank_values
from .boxes import Box, without_inner
from .frame_source import Frames
from .overlays import hidden_in_pixels
from .recompression import (
    declare_loss,
    encode,
    encode_fragments,
    lossless_syntax,
    stored_as,
    to_store,
)
from .regions import known_regions
from .selection import needs_text_search
from .settings import PixelSettings
from .static_text import StaticTextFinder, shared_boxes
from .visual_holds import visual_features

_CHUNK = 1 << 16
_Erase = Callable[[NDArray[Any], int], None]


@dataclass
class CleaningResult:
    """What was decided for one file's pixels.

    Attributes
    ----------
    looked
        Whether the pixels were searched for text.
    element
        Yields the bytes of the new pixel data element. None if the old one can be copied.
    syntax
        The new transfer syntax, None if it stays the source's.
    features
        The value of RecognizableVisualFeatures (0028,0302), None if unknown.
    changes
        Functions that change the anonymised header to match the new pixels.
    """

    looked: bool = False
    element: Callable[[], Iterator[bytes]] | None = None
    syntax: UID | None = None
    features: str | None = None
    changes: list[Callable[[Any], None]] = field(default_factory=list)

    def declare(self, ds: Dataset) -> None:
        """Record in the anonymised header what was done to the pixels."""
        for change in self.changes:
            change(ds)
        if self.features:
            ds.RecognizableVisualFeatures = self.features
        if not self.looked:
            return
        ds.BurnedInAnnotation = "NO"
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator = "113101", "DCM"
        code.CodeMeaning = "Clean Pixel Data Option"
        ds.DeidentificationMethodCodeSequence.append(code)


def clean_pixels(
    stream: BinaryIO,
    ds: Dataset,
    span: PixelSpan | None,
    settings: PixelSettings,
    regions: Sequence[BlankRegion] = (),
    face: FileFace | None = None,
) -> CleaningResult:
    """Search an image's pixels for text if the profile asks for it, and prepare the blanking.

    Parameters
    ----------
    stream
        The file.
    ds
        Its original header. For a deflated file it includes the pixel data.
    span
        The position of the pixel data in the file, None if there is none or the file is deflated.
    settings
        The part ``pixels`` of the profile.
    regions
        What a steward blanks; such an image is searched for other text whatever the profile says.
    face
        The face to remove, None to remove none.

    Returns
    -------
    CleaningResult
        What was decided. The new pixels are made when its `element` is called.

    Raises
    ------
    HeldError
        ``pixels-unreadable``: the pixels must be searched but cannot be decoded.
        ``overlay-in-pixels``: an overlay in unused bits of the pixels cannot be cleared.
    """
    made = CleaningResult(features=visual_features(ds))
    syntax = UID(ds.file_meta.TransferSyntaxUID)
    if span is None and "PixelData" in ds:
        stream, syntax = BytesIO(ds.PixelData), ExplicitVRLittleEndian
        span = PixelSpan(0, len(ds.PixelData), 0, 0x7FE00010, "OW")
    if span is None:
        return made
    hidden = hidden_in_pixels(ds)
    made.looked = needs_text_search(ds, settings) or bool(regions)
    if not made.looked and not hidden and face is None:
        return made
    frames = Frames(stream, ds, syntax, span)
    if hidden and (not frames.native or frames.bits not in (8, 16, 32)):
        raise HeldError(
            "overlay-in-pixels",
            "an overlay is stored in unused bits of the pixels (PS3.5 8.1.2, retired), where it "
            "cannot be cleared; convert it to Overlay Data (60xx,3000) at its origin",
        )
    # Where nothing is looked at, hidden overlays are cleared, in native pixels of a checked length.
    boxes = (
        _boxes(frames, known_regions(ds, settings), regions) if made.looked else [[]] * frames.count
    )
    erase = face.eraser(frames) if face is not None else None
    if erase is not None:
        made.features = "NO"
        made.changes.append(declare_removal)
    if any(boxes) or erase is not None:
        made.changes.append(_drop_extremes)
    elif not hidden:
        return made
    if frames.native:
        made.element = lambda: _native(frames, boxes, hidden, erase)
    else:
        made.syntax = lossless_syntax(frames.syntax)
        made.element = lambda: encode_fragments(_compressed(frames, boxes, erase))
        made.changes.append(_declare_compressed(frames))
    return made


def _drawn(regions: Sequence[BlankRegion], number: int, frames: Frames) -> list[Box]:
    """Return the boxes that a steward drew for a frame."""
    boxes = (
        Box(one.left, one.top, one.right, one.bottom).clipped(frames.rows, frames.columns)
        for one in regions
        if one.frame in (None, number)
    )
    return [box for box in boxes if box]


def _boxes(frames: Frames, fixed: list[Box], regions: Sequence[BlankRegion]) -> list[list[Box]]:
    """Return the boxes to blank in each frame."""
    finder = StaticTextFinder()
    drawn: list[list[Box]] = []
    per_frame = []
    # NumberOfFrames may be any number: only frames that are there cost anything.
    for number, shown in enumerate(frames.iter_displayed()):
        drawn.append(_drawn(regions, number, frames))
        per_frame.append(finder.find(_without(shown, drawn[-1])))
    always = [*fixed, *shared_boxes(per_frame, frames.rows, frames.columns)]
    return [
        without_inner([*always, *own, *found]) for own, found in zip(drawn, per_frame, strict=True)
    ]


def _without(shown: NDArray[Any], drawn: list[Box]) -> NDArray[Any]:
    """Return a frame without what is blanked anyway: text there needs no box around it."""
    if not drawn:
        return shown
    shown = shown.copy()
    for box in drawn:
        shown[box.top : box.bottom, box.left : box.right] = shown.min()
    return shown


def _native(
    frames: Frames, boxes: list[list[Box]], hidden: bool, erase: _Erase | None
) -> Iterator[bytes]:
    stream, span = frames.stream, frames.span
    stream.seek(span.start)
    yield stream.read(span.value - span.start)
    if frames.bits == 1:
        yield blank_bits(stream.read(span.end - span.value), boxes, frames)
        return
    for number, here in enumerate(boxes):
        data = bytearray(stream.read(frames.frame_bytes))
        if len(data) < frames.frame_bytes:
            raise HeldError(
                "truncated", "the file became shorter while it was read; send the study again"
            )
        if here or hidden:
            blank_native(data, here, frames, hidden)
        if erase is not None:
            erase(native_values(data, frames), number)
        yield bytes(data)
    left = span.end - stream.tell()
    while left:  # zeros replace what follows the last pixel (PS3.5 8.1.1)
        yield bytes(min(_CHUNK, left))
        left -= min(_CHUNK, left)


def _compressed(frames: Frames, boxes: list[list[Box]], erase: _Erase | None) -> Iterator[bytes]:
    syntax = lossless_syntax(frames.syntax)
    for number, (decoded, here) in enumerate(zip(frames.iter_decoded(), boxes, strict=True)):
        frame = to_store(decoded, syntax)
        blank_values(frame.values, here, frame.photometric, frames.ds)
        if erase is not None:
            erase(frame.values, number)
        yield encode(frame, frames, syntax)


def _declare_compressed(frames: Frames) -> Callable[[Any], None]:
    first = next(frames.iter_decoded())
    photometric = stored_as(first.photometric, frames.samples, lossless_syntax(frames.syntax))

    def declare(ds: Dataset) -> None:
        declare_loss(ds, frames)
        ds.PhotometricInterpretation = photometric
        if frames.samples > 1:
            ds.PlanarConfiguration = 0
        for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
            if keyword in ds:
                delattr(ds, keyword)

    return declare


def _drop_extremes(ds: Dataset) -> None:
    """Drop the optional smallest and largest pixel value, which may be those of the text."""
    for keyword in (
        "SmallestImagePixelValue",
        "LargestImagePixelValue",
        "SmallestPixelValueInSeries",
        "LargestPixelValueInSeries",
    ):
        if keyword in ds:
            delattr(ds, keyword)
