"""Single frames of an instance, as stored or decoded, without the other frames in memory."""

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
# Bytes of a frame that is decoded; decoding needs several times as much memory.
MOST_DECODED = 96 << 20
# Bytes of the frames that all threads decode at this moment.
_decoding: list[int] = [0]
_decoding_changed = Condition()
_ELEMENT_HEADER = 12
_PIECE = 1 << 20


@dataclass(frozen=True)
class ValueSpan:
    """A value in a file that is read in pieces.

    Attributes
    ----------
    file
        The open file.
    offset, size
        Where the value starts, and its length, in bytes.
    """

    file: BinaryIO
    offset: int
    size: int

    @classmethod
    def of(cls, content: bytes) -> ValueSpan:
        """Return the span of a value that is in memory."""
        return cls(BytesIO(content), 0, len(content))

    def pieces(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes from `start` up to, but not including, `end`.

        Parameters
        ----------
        start, end
            Offsets in the value, in bytes.

        Yields
        ------
        bytes
            Pieces of up to 1 MiB.

        Raises
        ------
        UndecodableError
            The file ends before the value does.
        """
        while start < end:
            self.file.seek(self.offset + start)
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
        The instance's file, open at its start. It must stay open while frames are read.

    Attributes
    ----------
    header
        The dataset without the pixel data.
    count
        Number of Frames (0028,0008).
    swapped
        Whether the file is in Explicit VR Big Endian.

    Raises
    ------
    UndecodableError
        The instance is not an image, or its file cannot be read.
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
            self._find_pixel_data()
        except UndecodableError:
            raise
        except Exception as error:  # a malformed file can raise nearly anything
            raise UndecodableError(
                f"the instance's frames cannot be read: {type(error).__name__}"
            ) from None

    def _find_pixel_data(self) -> None:
        """Find where the value of the pixel data starts, and its length."""
        at = self._file.tell()
        head = self._file.read(_ELEMENT_HEADER)
        group, element = struct.unpack_from("<HH", head)
        if group != 0x7FE0 or element not in (0x0008, 0x0009, 0x0010):
            raise UndecodableError("the instance is not an image: it has no pixel data")
        if self._syntax.is_implicit_VR:
            self._at, (self._length,) = at + 8, struct.unpack_from("<I", head, 4)
        else:
            self._at, (self._length,) = at + 12, struct.unpack_from("<I", head, 8)
        self._bits = int(_VALUE_BITS.get(element) or self.header.BitsAllocated)
        self._element = element
        self.count = int(self.header.get("NumberOfFrames") or 1)

    @property
    def syntax(self) -> str:
        """The Transfer Syntax UID of the frames that `stored` returns."""
        if self._length == _UNDEFINED:
            return str(self._syntax)
        return EXPLICIT

    @property
    def tag(self) -> int:
        """The tag of the pixel data."""
        return 0x7FE00000 + int(self._element)

    @property
    def value(self) -> ValueSpan:
        """The value of the pixel data; only if it is not encapsulated."""
        return ValueSpan(self._file, self._at, self._length)

    def stored(self, number: int) -> bytes:
        """Return a frame, counted from 1, as it is stored.

        Raises
        ------
        IndexError
            The instance has no such frame.
        UndecodableError
            The pixel data ends before the frame does, or its fragments are malformed.
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
            # A frame of single bits need not start at a byte (PS3.5 8.1.1).
            unpacked = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
            mine = unpacked[first % 8 : first % 8 + bits]
            data = np.packbits(mine, bitorder="little").tobytes()
        return data

    @contextmanager
    def decoding_memory(self) -> Iterator[None]:
        """Reserve memory to decode a frame; wait while other threads decode too much."""
        size = min(self._size(), MOST_DECODED)
        with _decoding_changed:
            _decoding_changed.wait_for(lambda: _decoding[0] + size <= MOST_DECODED)
            _decoding[0] += size
        try:
            yield
        finally:
            with _decoding_changed:
                _decoding[0] -= size
                _decoding_changed.notify_all()

    def _size(self) -> int:
        """Return the size of a decoded frame in bytes, as the header declares it."""
        header = self.header
        rows, columns = int(header.get("Rows") or 0), int(header.get("Columns") or 0)
        samples = rows * columns * int(header.get("SamplesPerPixel") or 1)
        return samples * max(1, int(self._bits) // 8)

    @property
    def encapsulated(self) -> bool:
        """Whether the frames are encapsulated, that is compressed (PS3.5 A.4)."""
        return bool(self._length == _UNDEFINED)

    def array(self, number: int) -> np.ndarray[Any, Any]:
        """Return a frame, counted from 1, as an array; raises the errors of `pixels`.

        The array's shape is (rows, columns), or (rows, columns, samples) with colours as RGB.
        """
        return self.pixels(number)[0]

    def pixels(self, number: int) -> tuple[np.ndarray[Any, Any], dict[str, Any]]:
        """Return a frame, counted from 1, as `array` does, and how pydicom describes its pixels.

        Raises
        ------
        IndexError
            The instance has no such frame.
        UndecodableError
            The frame cannot be decoded, or would take more memory than one request may.
        """
        self._check_size(0, 0)
        stored = self.stored(number)
        if self.encapsulated:
            self._check_size(*codestream_size(stored))
        dataset = Dataset()
        dataset.update(self.header)
        dataset.file_meta = self.header.file_meta
        offsets = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
        replace_attributes(dataset, {"NumberOfFrames": 1, **dict.fromkeys(offsets)})
        keyword = {0x0008: "FloatPixelData", 0x0009: "DoubleFloatPixelData"}.get(
            self._element, "PixelData"
        )
        padded = stored + b"\0" if len(stored) % 2 else stored
        setattr(dataset, keyword, encapsulate([stored]) if self.encapsulated else padded)
        dataset[keyword].is_undefined_length = self.encapsulated
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                decoded, description = get_decoder(self._syntax).as_array(dataset, index=0)
                return np.asarray(decoded), dict(description)
        except Exception as error:  # decoders may raise anything
            raise UndecodableError(
                f"frame {number} cannot be decoded ({type(error).__name__}); request it in its"
                " stored transfer syntax"
            ) from None

    def _check_size(self, samples: int, working: int) -> None:
        """Refuse a frame whose decoding would take more memory than one request may."""
        announced = samples * max(1, self._bits // 8, working)
        if max(self._size(), announced) > MOST_DECODED:
            raise UndecodableError(
                "the frame is too large to be decoded; request it in its stored transfer syntax"
            )

    def decoded(self, number: int) -> bytes:
        """Return a frame in Explicit VR Little Endian; raises the errors of `pixels`."""
        if not self.encapsulated:
            return self.stored(number)
        with self.decoding_memory():
            return self.array(number).tobytes()


def replace_attributes(dataset: Dataset, new: dict[str, Any]) -> None:
    """Replace attributes of a dataset, but not of the dataset that it was copied from.

    Parameters
    ----------
    dataset
        The dataset to change.
    new
        The new values by keyword; None removes the attribute.
    """
    for keyword, value in new.items():
        # A copied dataset shares its elements with the original; assigning would change both.
        if keyword in dataset:
            del dataset[keyword]
        if value is not None:
            setattr(dataset, keyword, value)
