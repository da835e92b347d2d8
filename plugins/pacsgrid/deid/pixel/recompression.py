"""Blanked frames of a compressed image, compressed again without loss (PS3.5 8.2, A.4)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from pydicom.pixels import convert_color_space, get_decoder, get_encoder
from pydicom.uid import (
    UID,
    JPEG2000Lossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from .frame_source import Frame, Frames, unreadable

# How a lossy syntax loses (PS3.3 C.7.6.1.1.5.1); its lossless re-encoding doesn't undo that.
_LOSSY = {
    "1.2.840.10008.1.2.4.50": "ISO_10918_1",
    "1.2.840.10008.1.2.4.51": "ISO_10918_1",
    "1.2.840.10008.1.2.4.81": "ISO_14495_1",
    "1.2.840.10008.1.2.4.91": "ISO_15444_1",
    "1.2.840.10008.1.2.4.203": "ISO_15444_15",
}


def lossless_syntax(source: UID) -> UID:
    """Return the syntax for re-encoding: the source's own where that is lossless and can be made.

    All others become JPEG 2000 lossless, lossy ones too: coding them lossily again would change
    every pixel of the image to remove a few.
    """
    if source == RLELossless:
        return RLELossless
    if source in (JPEGLSLossless, JPEGLSNearLossless):
        return JPEGLSLossless
    return JPEG2000Lossless


def stored_as(photometric: str, samples: int, syntax: UID) -> str:
    """Return the photometric interpretation of decoded values once coded in the given syntax."""
    if samples == 1:
        return photometric
    if syntax == JPEG2000Lossless:
        return "YBR_RCT"
    return "YBR_FULL" if photometric.startswith("YBR_FULL") else "RGB"


def to_store(frame: Frame, syntax: UID) -> Frame:
    """Return a frame in the colours that the given syntax stores.

    A JPEG's YBR becomes the RGB that a viewer makes of it: ultrasound and others may not be
    YBR_FULL in JPEG 2000 (PS3.3 C.8.5.6.1.2).
    """
    if syntax != JPEG2000Lossless or not frame.photometric.startswith("YBR_FULL"):
        return frame
    return Frame(np.asarray(convert_color_space(frame.values, "YBR_FULL", "RGB")), "RGB")


def encode(frame: Frame, frames: Frames, syntax: UID) -> bytes:
    """Compress one frame, and make sure that it decodes to the very same values.

    Raises
    ------
    HeldError
        ``pixels-unreadable``: no lossless coding of this kind of image is available.
    """
    values = frame.values
    options: dict[str, Any] = {
        "rows": frames.rows,
        "columns": frames.columns,
        "number_of_frames": 1,
        "samples_per_pixel": frames.samples,
        "bits_allocated": frames.bits,
        "bits_stored": int(frames.ds.BitsStored),
        "pixel_representation": int(frames.ds.PixelRepresentation),
        "photometric_interpretation": stored_as(frame.photometric, frames.samples, syntax),
    }
    if frames.samples > 1:
        options["planar_configuration"] = 0
    try:
        # The rules of a profile for a syntax are the standard's for new images; an old one that
        # breaks them (32 bits in RLE) keeps its shape.
        coded = get_encoder(syntax).encode(values, index=None, validate=False, **options)
        decoder = get_decoder(syntax)
        again, _ = decoder.as_array(
            _encapsulated(coded), raw=True, transfer_syntax_uid=syntax,
            pixel_keyword="PixelData", **options,
        )  # fmt: skip
    except Exception as error:
        raise unreadable(
            f"they cannot be compressed again ({type(error).__name__})", syntax
        ) from None
    if not np.array_equal(again, values):
        raise unreadable("compressing them again would change them", syntax)
    return bytes(coded)


def encode_fragments(coded: Iterator[bytes]) -> Iterator[bytes]:
    """Yield a pixel data element of one fragment a frame, without offsets (PS3.5 A.4)."""
    yield b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\0\0\0\0"
    for frame in coded:
        frame += b"\0" * (len(frame) % 2)
        yield b"\xfe\xff\x00\xe0" + struct.pack("<L", len(frame)) + frame
    yield b"\xfe\xff\xdd\xe0\0\0\0\0"


def _encapsulated(coded: bytes) -> bytes:
    return b"".join(encode_fragments(iter([coded])))[12:]


def declare_loss(ds: Any, frames: Frames) -> None:
    """State that the values once went through a lossy coder, when the header doesn't yet.

    The ratio is that of the source as it came (PS3.3 C.7.6.1.1.5.2).
    """
    method = _LOSSY.get(str(frames.syntax))
    if method is None or str(ds.get("LossyImageCompression", "") or "") == "01":
        return
    plain = frames.frame_bytes * frames.count
    ds.LossyImageCompression = "01"
    ds.LossyImageCompressionRatio = round(plain / max(1, frames.span.end - frames.span.value), 2)
    ds.LossyImageCompressionMethod = method
