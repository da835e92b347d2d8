"""Decode a file's frames one at a time, as stored or as a viewer displays them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, convert_color_space, get_decoder
from pydicom.pixels.utils import as_pixel_options
from pydicom.uid import UID

from ...errors import HeldError
from ..codestream.fragments import check_frames, copy_fragments
from ..pixel_location import PixelSpan, pixel_layout

_KEYWORDS = {
    0x7FE00008: "FloatPixelData",
    0x7FE00009: "DoubleFloatPixelData",
    0x7FE00010: "PixelData",
}

# Greatest length of one frame in bytes; searching it takes nine times as much memory. A frame over
# _HARMLESS bytes may also be only _RATIO times as large as what is stored of it.
LARGEST, _HARMLESS, _RATIO = 1 << 27, 1 << 25, 32


class _UndecodableError(Exception):
    """Raised when a frame cannot be decoded, after `done` others were."""

    def __init__(self, done: int, why: str) -> None:
        super().__init__(why)
        self.done, self.why = done, why


@dataclass(frozen=True)
class Frame:
    """One decoded frame.

    Parameters
    ----------
    values
        The stored values, rows by columns or rows by columns by 3.
    photometric
        Their photometric interpretation.
    """

    values: NDArray[Any]
    photometric: str


class Frames:
    """The frames of one image.

    Parameters
    ----------
    stream
        The file, or the value of a pixel data element in memory.
    ds
        The image's header.
    syntax
        The transfer syntax of the pixel data.
    span
        The position of the pixel data element in the stream.

    Raises
    ------
    HeldError
        ``pixels-unreadable``: the header does not describe an image, or a frame is too large.
    """

    def __init__(self, stream: BinaryIO, ds: Dataset, syntax: UID, span: PixelSpan) -> None:
        self.stream, self.ds, self.syntax, self.span = stream, ds, syntax, span
        self._checked = False
        try:
            self.options: dict[str, Any] = as_pixel_options(ds)
            self.rows, self.columns = int(ds.Rows), int(ds.Columns)
            self.count = int(self.options["number_of_frames"])
            self.bits = int(ds.BitsAllocated)
            self.samples = int(ds.get("SamplesPerPixel", 1) or 1)
            self.photometric = str(ds.PhotometricInterpretation).strip()
            self.planar = int(ds.get("PlanarConfiguration", 0) or 0)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise unreadable(
                "the header lacks an attribute that describes the pixels, or its value is wrong",
                syntax,
            ) from None
        if self.samples not in (1, 3):
            raise unreadable(f"{self.samples} samples per pixel are not supported", syntax)
        stored = (span.end - span.value) // max(1, self.count)
        if self.frame_bytes > min(LARGEST, max(_HARMLESS, _RATIO * stored)):
            raise unreadable(
                f"a frame of {self.rows} x {self.columns} pixels is too large to be searched",
                syntax,
            )
        self.options["transfer_syntax_uid"] = syntax
        self.options["pixel_keyword"] = _KEYWORDS[span.tag]
        if span.vr:
            self.options["pixel_vr"] = span.vr

    @property
    def native(self) -> bool:
        """Whether the frames are stored uncompressed."""
        return not self.syntax.is_encapsulated

    @property
    def subsampled(self) -> bool:
        """Whether two pixels share their colour (YBR_FULL_422, stored uncompressed)."""
        return self.native and self.photometric == "YBR_FULL_422"

    @property
    def frame_bytes(self) -> int:
        """The length of an uncompressed frame in bytes."""
        bits = self.rows * self.columns * self.samples * self.bits
        return bits // 12 if self.subsampled else bits // 8

    def iter_decoded(self) -> Iterator[Frame]:
        """Yield the decoded frames. Do not seek in the stream during the iteration.

        Raises
        ------
        HeldError
            ``pixels-unreadable``: a frame cannot be decoded, or frames are missing.
        """
        if self.native and self.bits == 1:
            yield from self._bits()
            return
        if self.span.encapsulated and not self._checked:
            check_frames(self.stream, self.span, str(self.syntax), pixel_layout(self.ds))
            self._checked = True
        done = 0
        try:
            yield from self._decoded(self.stream, self.span.value)
            return
        except _UndecodableError as error:
            done, why = error.done, error.why
        if done or not self.span.encapsulated or self.span.end - self.span.start > LARGEST:
            raise self._undecodable(done, why)
        # Decode again without the extra data that some decoders cannot handle.
        cleaned = copy_fragments(self.stream, self.span, str(self.syntax), pixel_layout(self.ds))
        whole = BytesIO(b"".join(cleaned))
        # This includes an extended offset table that does not match the fragments.
        self.options.pop("extended_offsets", None)
        try:
            yield from self._decoded(whole, self.span.value - self.span.start)
        except _UndecodableError as error:
            raise self._undecodable(error.done, error.why) from None

    def _undecodable(self, done: int, why: str) -> HeldError:
        return unreadable(f"frame {done + 1} cannot be decoded ({why})", self.syntax)

    def _decoded(self, stream: BinaryIO, position: int) -> Iterator[Frame]:
        stream.seek(position)
        done = 0
        try:
            # Some encoders add fragments after the last frame.
            frames = get_decoder(self.syntax).iter_array(stream, raw=True, **self.options)
            for values, properties in islice(frames, self.count):
                done += 1
                yield Frame(values, str(properties["photometric_interpretation"]))
        except (GeneratorExit, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic in a Rust decoder is not an Exception
            raise _UndecodableError(done, type(error).__name__) from None
        if done < self.count:
            raise unreadable(f"it has {done} of {self.count} frames", self.syntax)

    def _bits(self) -> Iterator[Frame]:
        """Yield frames of one bit a pixel, which are not byte-aligned (PS3.5 8.1.1)."""
        size = self.rows * self.columns * self.samples
        for number in range(self.count):
            first, end = number * size, (number + 1) * size
            self.stream.seek(self.span.value + first // 8)
            data = self.stream.read(-(-end // 8) - first // 8)
            bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[first % 8 :]
            if bits.size < size or self.samples != 1:
                raise unreadable(f"it has {number} of {self.count} frames", self.syntax)
            yield Frame(bits[:size].reshape(self.rows, self.columns), self.photometric)

    def iter_displayed(self) -> Iterator[NDArray[Any]]:
        """Yield the frames as grey or RGB values."""
        for frame in self.iter_decoded():
            yield self.render(frame)

    def render(self, frame: Frame) -> NDArray[Any]:
        """Return the grey or RGB values of one frame.

        Raises
        ------
        HeldError
            ``pixels-unreadable``: the colours cannot be converted.
        """
        try:
            if frame.photometric == "PALETTE COLOR":
                return np.asarray(apply_color_lut(frame.values, self.ds))
            if frame.photometric.startswith("YBR_FULL"):
                return np.asarray(convert_color_space(frame.values, "YBR_FULL", "RGB"))
        except Exception as error:
            raise unreadable(
                f"its colours cannot be converted to RGB ({type(error).__name__})", self.syntax
            ) from None
        return frame.values


def unreadable(why: str, syntax: UID) -> HeldError:
    """Return the refusal of an image that cannot be searched for text.

    Parameters
    ----------
    why
        What is wrong, without any value that may identify.
    syntax
        The transfer syntax of the pixel data.

    Returns
    -------
    HeldError
        With the code ``pixels-unreadable``.
    """
    return HeldError(
        "pixels-unreadable",
        f"the pixels ({syntax.name}) cannot be searched for text: {why}; review the image by "
        "hand, or have the file converted at its origin",
    )
