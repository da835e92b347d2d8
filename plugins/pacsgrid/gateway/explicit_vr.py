"""Instances in Explicit VR Little Endian as they are read, frame by frame (PS3.5 A.2)."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from io import BytesIO
from typing import Any, BinaryIO

from pydicom.dataset import Dataset, FileMetaDataset

from pacsgrid.gateway.frames import FrameReader, replaced
from pacsgrid.gateway.transcode import EXPLICIT, UndecodableError, converted, write_explicit
from pacsgrid.pacs.part10 import HEAD, MOST_META, read_meta

_OFFSETS = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
_FLOATS = {0x7FE00008: "OF", 0x7FE00009: "OD"}
_MOST_VALUE = (1 << 32) - 2


def as_explicit(data: bytes) -> bytes:
    """Return an instance's file in Explicit VR Little Endian; unchanged if it is already.

    Raises CannotDecode as `explicit`.
    """
    meta = read_meta(data[: HEAD + MOST_META])
    if meta and meta.transfer_syntax == EXPLICIT:
        return data
    return b"".join(explicit(BytesIO(data)))


def explicit(file: BinaryIO) -> Iterator[bytes]:
    """Yield an instance's file in Explicit VR Little Endian, its frames decoded one by one.

    What stands behind the pixel data, such as padding, is left out.

    Raises
    ------
    CannotDecode
        There is no decoder for its transfer syntax, its pixel data is broken, or it is too large.
    """
    try:
        frames = FrameReader(file)
    except UndecodableError:
        yield converted(file)  # no image
        return
    if not frames.encapsulated:
        value = frames.value
        yield _head(frames, {}, value.size)
        yield from value.pieces(0, value.size)
        return
    with frames.room():
        pixels, told = frames.pixels(1)
    first = pixels.tobytes()
    yield _head(frames, told, len(first) * frames.count)
    yield first
    for number in range(2, frames.count + 1):
        frame = frames.decoded(number)
        if len(frame) != len(first):
            raise UndecodableError(f"frame {number} has another size than the first")
        yield frame
    if len(first) * frames.count % 2:
        yield b"\0"


def _head(frames: FrameReader, told: dict[str, Any], size: int) -> bytes:
    """Return the file up to the value of its pixel data, of `size` bytes."""
    if size > _MOST_VALUE:
        raise UndecodableError("the pixel data is too large uncompressed; ask for it as stored")
    header = Dataset()
    header.update(frames.header)
    header.file_meta = FileMetaDataset()
    header.file_meta.update(frames.header.file_meta)
    del header.file_meta.TransferSyntaxUID
    new: dict[str, Any] = dict.fromkeys(_OFFSETS)
    if told:
        new["PhotometricInterpretation"] = str(told["photometric_interpretation"])
        if int(told["samples_per_pixel"]) > 1:
            new["PlanarConfiguration"] = int(told["planar_configuration"])
        if "NumberOfFrames" in header:
            new["NumberOfFrames"] = frames.count
    replaced(header, new)
    vr = _FLOATS.get(frames.tag) or ("OB" if int(header.BitsAllocated) <= 8 else "OW")
    target = BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            write_explicit(target, header)
    except Exception as error:  # pydicom raises what it likes
        raise UndecodableError(
            f"the instance cannot be decoded: {type(error).__name__}; ask for it as stored"
        ) from None
    element = frames.tag & 0xFFFF
    target.write(struct.pack("<HH2sxxI", 0x7FE0, element, vr.encode(), size + size % 2))
    return target.getvalue()
