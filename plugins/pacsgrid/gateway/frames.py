"""Single frames of an instance, as stored or decoded, without the others in memory."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from threading import Condition
from typing import Any, BinaryIO

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import get_decoder
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian

from pacsgrid.gateway.frame_size import codestream_size
from pacsgrid.gateway.transcode import EXPLICIT, UndecodableError, converted, inflated

_UNDEFINED = 0xFFFFFFFF
_VALUE_BITS = {0x0008: 32, 0x0009: 64}  # Float and Double Float Pixel Data
# Bytes of a frame that is decoded: some copies of it are in memory then.
MOST_DECODED = 96 << 20
_memory = Condition()
_taken: list[int] = [0]
_HEAD = 12
_PIECE = 1 << 20


@dataclass(frozen=True)
class ValueSpan:
    """A value as it stands in a file, given in pieces."""

    file: BinaryIO
    at: int
    size: int

    @classmethod
    def of(cls, content: bytes) -> ValueSpan:
        """Return a value that is in memory."""
        return cls(BytesIO(content), 0, len(content))

    def pieces(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the value from a byte on, up to another one; raises CannotDecode if it is short."""
        while start < end:
            self.file.seek(self.at + start)
            piece = self.file.read(min(_PIECE, end - start))
            if not piece:
                raise UndecodableError("the value is cut off")
            start += len(piece)
            yield piece


class FrameReader:
    """The frames of one instance.

    Parameters
    ----------
    file
        The instance's file, open at its start; it is read while frames are asked for.

    Raises
    ------
    CannotDecode
        It is no image.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.header = inflated(file, stop_before_pixels=True)
                self._syntax = UID(self.header.file_meta.TransferSyntaxUID)
                self.swapped = self._syntax == ExplicitVRBigEndian
                if self._syntax in (DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian):
                    self._file = BytesIO(converted(file))
                    self.header = dcmread(self._file, stop_before_pixels=True)
                    self._syntax = UID(EXPLICIT)
            self._find()
        except UndecodableError:
            raise
        except Exception as error:  # whatever a malformed file makes of it
            raise UndecodableError(f"the instance has no frames: {type(error).__name__}") from None

    def _find(self) -> None:
        """Find where the value of the pixel data starts."""
        at = self._file.tell()
        head = self._file.read(_HEAD)
        group, element = struct.unpack_from("<HH", head)
        if group != 0x7FE0 or element not in (0x0008, 0x0009, 0x0010):
            raise UndecodableError("the instance is no image: it has no pixel data")
        if self._syntax.is_implicit_VR:
            self._at, (self._length,) = at + 8, struct.unpack_from("<I", head, 4)
        else:
            self._at, (self._length,) = at + 12, struct.unpack_from("<I", head, 8)
        self._bits = int(_VALUE_BITS.get(element) or self.header.BitsAllocated)
        self._element = element
        self.count = int(self.header.get("NumberOfFrames") or 1)

    @property
    def syntax(self) -> str:
        """The Transfer Syntax UID that `stored` gives frames in."""
        if self._length == _UNDEFINED:
            return str(self._syntax)
        return EXPLICIT

    @property
    def tag(self) -> int:
        """The tag of the pixel data."""
        return 0x7FE00000 + int(self._element)

    @property
    def value(self) -> ValueSpan:
        """The pixel data as it stands in the file, if it is not encapsulated."""
        return ValueSpan(self._file, self._at, self._length)

    def stored(self, number: int) -> bytes:
        """Return a frame, counted from 1, as it is stored.

        Raises
        ------
        IndexError
            There is no such frame.
        CannotDecode
            The pixel data ends before it.
        """
        if not 1 <= number <= self.count:
            raise IndexError(number)
        if self._length == _UNDEFINED:
            self._file.seek(self._at)
            try:
                return self._encapsulated(number - 1)
            except (ValueError, EOFError, struct.error) as error:
                raise UndecodableError(
                    f"frame {number} cannot be found: {type(error).__name__}"
                ) from None
        return self._native(number - 1)

    def _encapsulated(self, index: int) -> bytes:
        offsets = None
        if "ExtendedOffsetTable" in self.header:
            offsets = (self.header.ExtendedOffsetTable, self.header.ExtendedOffsetTableLengths)
        return bytes(
            get_frame(
                self._file,  # type: ignore[arg-type]
                index,
                number_of_frames=self.count,
                extended_offsets=offsets,
            )
        )

    def _native(self, index: int) -> bytes:
        header = self.header
        samples = int(header.get("SamplesPerPixel") or 1)
        bits = int(header.Rows) * int(header.Columns) * samples * self._bits
        if header.get("PhotometricInterpretation") == "YBR_FULL_422":
            bits = bits // 3 * 2
        first = index * bits
        self._file.seek(self._at + first // 8)
        data = self._file.read((first % 8 + bits + 7) // 8)
        if len(data) * 8 < first % 8 + bits:
            raise UndecodableError(f"frame {index + 1} is cut off")
        if self._bits == 1 and (first % 8 or bits % 8):
            # Bits are packed across frames (PS3.5 8.1.1).
            unpacked = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
            mine = unpacked[first % 8 : first % 8 + bits]
            data = np.packbits(mine, bitorder="little").tobytes()
        return data

    @contextmanager
    def room(self) -> Iterator[None]:
        """Wait until there is memory to decode a frame; many may ask at once."""
        size = min(self._size(), MOST_DECODED)
        with _memory:
            _memory.wait_for(lambda: _taken[0] + size <= MOST_DECODED)
            _taken[0] += size
        try:
            yield
        finally:
            with _memory:
                _taken[0] -= size
                _memory.notify_all()

    def _size(self) -> int:
        """Return how many bytes a frame has by its header."""
        header = self.header
        rows, columns = int(header.get("Rows") or 0), int(header.get("Columns") or 0)
        samples = rows * columns * int(header.get("SamplesPerPixel") or 1)
        return samples * max(1, int(self._bits) // 8)

    @property
    def encapsulated(self) -> bool:
        """Whether frames are stored in fragments, compressed."""
        return bool(self._length == _UNDEFINED)

    def array(self, number: int) -> np.ndarray[Any, Any]:
        """Return a frame as an array of pixels, colours as RGB; errors as of `stored`."""
        return self.pixels(number)[0]

    def pixels(self, number: int) -> tuple[np.ndarray[Any, Any], dict[str, Any]]:
        """Return a frame as `array` does, with what pydicom tells of its image pixels.

        Raises
        ------
        IndexError
            There is no such frame.
        CannotDecode
            It cannot be decoded, or would take more memory than there is for one request.
        """
        self._bound(0, 0)
        stored = self.stored(number)
        if self.encapsulated:
            self._bound(*codestream_size(stored))
        one = Dataset()
        one.update(self.header)
        one.file_meta = self.header.file_meta
        offsets = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
        replaced(one, {"NumberOfFrames": 1, **dict.fromkeys(offsets)})
        keyword = {0x0008: "FloatPixelData", 0x0009: "DoubleFloatPixelData"}.get(
            self._element, "PixelData"
        )
        padded = stored + b"\0" if len(stored) % 2 else stored
        setattr(one, keyword, encapsulate([stored]) if self.encapsulated else padded)
        one[keyword].is_undefined_length = self.encapsulated
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                decoded, told = get_decoder(self._syntax).as_array(one, index=0)
                return np.asarray(decoded), dict(told)
        except Exception as error:  # decoders raise what they like
            raise UndecodableError(
                f"frame {number} cannot be decoded: {type(error).__name__}; ask for it as stored"
            ) from None

    def _bound(self, samples: int, working: int) -> None:
        """Refuse a frame whose decoding would take more memory than one request may."""
        announced = samples * max(1, self._bits // 8, working)
        if max(self._size(), announced) > MOST_DECODED:
            raise UndecodableError("the frame is too large to be decoded; ask for it as stored")

    def decoded(self, number: int) -> bytes:
        """Return a frame in Explicit VR Little Endian; errors as of `pixels`."""
        if not self.encapsulated:
            return self.stored(number)
        with self.room():
            return self.array(number).tobytes()


def replaced(dataset: Dataset, new: dict[str, Any]) -> None:
    """Give attributes other values, or none, in this data set and not in what it was made from."""
    for keyword, value in new.items():
        # A data set made from another one has the same elements, and would change them in place.
        if keyword in dataset:
            del dataset[keyword]
        if value is not None:
            setattr(dataset, keyword, value)
