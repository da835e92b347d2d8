"""A file's frames, one at a time: as stored for blanking, as shown for looking."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
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

# Bytes of one frame: looking at it takes nine times as many. Of those that are compressed further
# than images are only small ones are taken.
LARGEST, _HARMLESS, _RATIO = 1 << 27, 1 << 25, 32


class _UndecodableError(Exception):
    """A frame cannot be decoded; `done` others were."""

    def __init__(self, done: int, why: str) -> None:
        super().__init__(why)
        self.done, self.why = done, why


@dataclass(frozen=True)
class Frame:
    """One decoded frame: its stored values, and the photometric interpretation these are in."""

    values: NDArray[Any]
    photometric: str


class Frames:
    """The frames of one image.

    Parameters
    ----------
    stream
        The file, or the value of a pixel data element that is held in memory.
    ds
        The image's header.
    syntax
        Transfer syntax of the pixel data.
    span
        Where its pixel data element stands in the stream.

    Raises
    ------
    HeldError
        ``pixels-unreadable``: the header does not describe an image.
    """

    def __init__(self, stream: BinaryIO, ds: Any, syntax: UID, span: PixelSpan) -> None:
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
            raise unreadable("the header does not describe the pixels", syntax) from None
        if self.samples not in (1, 3):
            raise unreadable(f"{self.samples} samples per pixel are not supported", syntax)
        stored = (span.end - span.value) // max(1, self.count)
        if self.frame_bytes > min(LARGEST, max(_HARMLESS, _RATIO * stored)):
            raise unreadable(
                f"a frame of {self.rows} x {self.columns} is larger than can be looked at", syntax
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
        """Length of an uncompressed frame."""
        bits = self.rows * self.columns * self.samples * self.bits
        return bits // 12 if self.subsampled else bits // 8

    def iter_decoded(self) -> Iterator[Frame]:
        """Yield the frames' stored values; the stream must not be moved meanwhile.

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
        # A result is written without what some decoders stumble over.
        cleaned = copy_fragments(self.stream, self.span, str(self.syntax), pixel_layout(self.ds))
        whole = BytesIO(b"".join(cleaned))
        # An extended offset table is among that where it leads to no fragments.
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
            # Some encoders add fragments behind the last frame.
            frames = get_decoder(self.syntax).iter_array(stream, raw=True, **self.options)
            for values, properties in islice(frames, self.count):
                done += 1
                yield Frame(values, str(properties["photometric_interpretation"]))
        except (GeneratorExit, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a decoder in Rust panics with one that is no Exception
            raise _UndecodableError(done, type(error).__name__) from None
        if done < self.count:
            raise unreadable(f"it has {done} of {self.count} frames", self.syntax)

    def _bits(self) -> Iterator[Frame]:
        """Yield frames of one bit a pixel; the next begins where one ends, inside a byte too."""
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
        """Yield the frames as a viewer colours them: grey, or RGB."""
        for frame in self.iter_decoded():
            yield self.render(frame)

    def render(self, frame: Frame) -> NDArray[Any]:
        """Colour one frame; raises `HeldError` ``pixels-unreadable`` where that fails."""
        try:
            if frame.photometric == "PALETTE COLOR":
                return np.asarray(apply_color_lut(frame.values, self.ds))
            if frame.photometric.startswith("YBR_FULL"):
                return np.asarray(convert_color_space(frame.values, "YBR_FULL", "RGB"))
        except Exception as error:
            raise unreadable(
                f"its colours cannot be made out ({type(error).__name__})", self.syntax
            ) from None
        return frame.values


def unreadable(why: str, syntax: UID) -> HeldError:
    """Return the reason for an image whose pixels nobody can look at."""
    return HeldError(
        "pixels-unreadable",
        f"pixels ({syntax.name}) that must be searched for text: {why}; review it by hand",
    )
