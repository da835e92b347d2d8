"""Single frames of an instance, as stored or decoded, without the others in memory."""

from __future__ import annotations

import struct
import warnings
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import pixel_array
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian

from pacsgrid.gateway.transcode import EXPLICIT, CannotDecode, as_explicit

_UNDEFINED = 0xFFFFFFFF
_VALUE_BITS = {0x0008: 32, 0x0009: 64}  # Float and Double Float Pixel Data
_HEAD = 12


class Frames:
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
                self.header = dcmread(file, stop_before_pixels=True)
                self._syntax = UID(self.header.file_meta.TransferSyntaxUID)
                if self._syntax in (DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian):
                    file.seek(0)
                    self._file = BytesIO(as_explicit(file.read()))
                    self.header = dcmread(self._file, stop_before_pixels=True)
                    self._syntax = UID(EXPLICIT)
            self._find()
        except CannotDecode:
            raise
        except Exception as error:  # whatever a malformed file makes of it
            raise CannotDecode(f"the instance has no frames: {type(error).__name__}") from None

    def _find(self) -> None:
        """Find where the value of the pixel data starts."""
        at = self._file.tell()
        head = self._file.read(_HEAD)
        group, element = struct.unpack_from("<HH", head)
        if group != 0x7FE0 or element not in (0x0008, 0x0009, 0x0010):
            raise CannotDecode("the instance is no image: it has no pixel data")
        if self._syntax.is_implicit_VR:
            self._at, (self._length,) = at + 8, struct.unpack_from("<I", head, 4)
        else:
            self._at, (self._length,) = at + 12, struct.unpack_from("<I", head, 8)
        self._bits = _VALUE_BITS.get(element) or int(self.header.BitsAllocated)
        self._element = element
        self.count = int(self.header.get("NumberOfFrames") or 1)

    @property
    def syntax(self) -> str:
        """The Transfer Syntax UID that `stored` gives frames in."""
        if self._length == _UNDEFINED:
            return str(self._syntax)
        return EXPLICIT

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
                raise CannotDecode(
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
            raise CannotDecode(f"frame {index + 1} is cut off")
        if self._bits == 1 and (first % 8 or bits % 8):
            # Bits are packed across frames (PS3.5 8.1.1).
            unpacked = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
            mine = unpacked[first % 8 : first % 8 + bits]
            data = np.packbits(mine, bitorder="little").tobytes()
        return data

    def array(self, number: int) -> np.ndarray[Any, Any]:
        """Return a frame as an array of pixels, colours as RGB; errors as of `stored`."""
        stored = self.stored(number)
        one = Dataset()
        one.update(self.header)
        one.file_meta = self.header.file_meta
        one.NumberOfFrames = 1
        for word in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
            if word in one:
                del one[word]
        encapsulated = self._length == _UNDEFINED
        keyword = {0x0008: "FloatPixelData", 0x0009: "DoubleFloatPixelData"}.get(
            self._element, "PixelData"
        )
        padded = stored + b"\0" * (len(stored) % 2)
        setattr(one, keyword, encapsulate([stored]) if encapsulated else padded)
        one[keyword].is_undefined_length = encapsulated
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return np.asarray(pixel_array(one, index=0))
        except Exception as error:  # decoders raise what they like
            raise CannotDecode(
                f"frame {number} cannot be decoded: {type(error).__name__}; ask for it as stored"
            ) from None

    def decoded(self, number: int) -> bytes:
        """Return a frame in Explicit VR Little Endian; errors as of `stored`."""
        if self._length != _UNDEFINED:
            return self.stored(number)
        return self.array(number).tobytes()
