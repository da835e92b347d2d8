"""Convert instances to Explicit VR Little Endian (PS3.5 A.2), one frame at a time."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from io import BytesIO
from typing import Any, BinaryIO

from pydicom.dataset import Dataset, FileMetaDataset

from pacsgrid.gateway.frames import FrameReader, replace_attributes
from pacsgrid.gateway.transcode import EXPLICIT, UndecodableError, converted, write_explicit
from pacsgrid.pacs.part10 import HEAD, MOST_META, read_meta

_OFFSETS = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
_FLOATS = {0x7FE00008: "OF", 0x7FE00009: "OD"}
_MOST_VALUE = (1 << 32) - 2


def as_explicit(data: bytes) -> bytes:
    """Return an instance's file in Explicit VR Little Endian; unchanged if it already is.

    Raises
    ------
    UndecodableError
        See `explicit`.
    """
    meta = read_meta(data[: HEAD + MOST_META])
    if meta and meta.transfer_syntax == EXPLICIT:
        return data
    return b"".join(explicit(BytesIO(data)))


def explicit(file: BinaryIO) -> Iterator[bytes]:
    """Yield an instance's file in Explicit VR Little Endian; decode its frames one at a time.

    Elements after the pixel data, such as padding, are left out.

    Raises
    ------
    UndecodableError
        There is no decoder for the transfer syntax, or the file is malformed or too large.
    """
    try:
        frames = FrameReader(file)
    except UndecodableError:
        yield converted(file)  # not an image
        return
    if not frames.encapsulated:
        value = frames.value
        yield _head(frames, {}, value.size)
        yield from value.pieces(0, value.size)
        return
    with frames.decoding_memory():
        pixels, description = frames.pixels(1)
    first = pixels.tobytes()
    yield _head(frames, description, len(first) * frames.count)
    yield first
    for number in range(2, frames.count + 1):
        frame = frames.decoded(number)
        if len(frame) != len(first):
            raise UndecodableError(f"frame {number} differs in size from the first frame")
        yield frame
    if len(first) * frames.count % 2:
        yield b"\0"


def _head(frames: FrameReader, description: dict[str, Any], size: int) -> bytes:
    """Return the file up to the value of the pixel data, which has `size` bytes.

    `description` is what pydicom says of decoded pixels; it is empty for pixels left as they are.
    """
    if size > _MOST_VALUE:
        raise UndecodableError(
            "the pixel data is too large uncompressed; request the instance in its stored transfer"
            " syntax"
        )
    header = Dataset()
    header.update(frames.header)
    header.file_meta = FileMetaDataset()
    header.file_meta.update(frames.header.file_meta)
    del header.file_meta.TransferSyntaxUID
    new: dict[str, Any] = dict.fromkeys(_OFFSETS)
    if description:
        new["PhotometricInterpretation"] = str(description["photometric_interpretation"])
        if int(description["samples_per_pixel"]) > 1:
            new["PlanarConfiguration"] = int(description["planar_configuration"])
        if "NumberOfFrames" in header:
            new["NumberOfFrames"] = frames.count
    replace_attributes(header, new)
    vr = _FLOATS.get(frames.tag) or ("OB" if int(header.BitsAllocated) <= 8 else "OW")
    target = BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            write_explicit(target, header)
    except Exception as error:  # pydicom may raise anything
        raise UndecodableError(
            f"the instance cannot be converted ({type(error).__name__}); request it in its stored"
            " transfer syntax"
        ) from None
    element = frames.tag & 0xFFFF
    target.write(struct.pack("<HH2sxxI", 0x7FE0, element, vr.encode(), size + size % 2))
    return target.getvalue()
