"""Compress blanked frames again, without loss (PS3.5 8.2, A.4)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import convert_color_space, get_decoder, get_encoder
from pydicom.uid import (
    UID,
    JPEG2000Lossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from .frame_source import Frame, Frames, unreadable

# LossyImageCompressionMethod by transfer syntax (PS3.3 C.7.6.1.1.5.1). It remains true after
# lossless re-encoding.
_LOSSY = {
    "1.2.840.10008.1.2.4.50": "ISO_10918_1",
    "1.2.840.10008.1.2.4.51": "ISO_10918_1",
    "1.2.840.10008.1.2.4.81": "ISO_14495_1",
    "1.2.840.10008.1.2.4.91": "ISO_15444_1",
    "1.2.840.10008.1.2.4.203": "ISO_15444_15",
}


def lossless_syntax(source: UID) -> UID:
    """Return the transfer syntax for re-encoding.

    RLE stays, and JPEG-LS becomes lossless JPEG-LS. All others become lossless JPEG 2000, the
    lossy ones too: a second lossy coding would change every pixel of the image.
    """
    if source == RLELossless:
        return RLELossless
    if source in (JPEGLSLossless, JPEGLSNearLossless):
        return JPEGLSLossless
    return JPEG2000Lossless


def stored_as(photometric: str, samples: int, syntax: UID) -> str:
    """Return the photometric interpretation of values once they are encoded.

    Parameters
    ----------
    photometric
        That of the decoded values.
    samples
        The samples per pixel.
    syntax
        The transfer syntax that they are encoded in.
    """
    if samples == 1:
        return photometric
    if syntax == JPEG2000Lossless:
        return "YBR_RCT"
    return "YBR_FULL" if photometric.startswith("YBR_FULL") else "RGB"


def to_store(frame: Frame, syntax: UID) -> Frame:
    """Return a frame in the colour space that a transfer syntax stores.

    For JPEG 2000, YBR_FULL becomes RGB, since some IODs do not allow YBR_FULL there, such as
    ultrasound (PS3.3 C.8.5.6.1.2).

    Parameters
    ----------
    frame
        The decoded frame.
    syntax
        The transfer syntax that it will be encoded in.
    """
    if syntax != JPEG2000Lossless or not frame.photometric.startswith("YBR_FULL"):
        return frame
    return Frame(np.asarray(convert_color_space(frame.values, "YBR_FULL", "RGB")), "RGB")


def encode(frame: Frame, frames: Frames, syntax: UID) -> bytes:
    """Compress one frame, and verify that it decodes to the same values.

    Parameters
    ----------
    frame
        The frame, from `to_store`.
    frames
        The image that it belongs to.
    syntax
        The transfer syntax to encode it in.

    Returns
    -------
    bytes
        The codestream.

    Raises
    ------
    HeldError
        ``pixels-unreadable``: this kind of image cannot be encoded without loss.
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
        # Without validation: an existing image may break the standard's rules for a transfer
        # syntax (32 bits in RLE), and keeps its layout.
        coded = get_encoder(syntax).encode(values, index=None, validate=False, **options)
        decoder = get_decoder(syntax)
        again, _ = decoder.as_array(
            _encapsulated(coded), raw=True, transfer_syntax_uid=syntax,
            pixel_keyword="PixelData", **options,
        )  # fmt: skip
    except Exception as error:
        raise unreadable(
            f"they cannot be compressed again once blanked ({type(error).__name__})", syntax
        ) from None
    if not np.array_equal(again, values):
        raise unreadable("they cannot be compressed again without loss", syntax)
    return bytes(coded)


def encode_fragments(coded: Iterator[bytes]) -> Iterator[bytes]:
    """Yield a pixel data element: one fragment a frame, an empty offset table (PS3.5 A.4)."""
    yield b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\0\0\0\0"
    for frame in coded:
        frame += b"\0" * (len(frame) % 2)
        yield b"\xfe\xff\x00\xe0" + struct.pack("<L", len(frame)) + frame
    yield b"\xfe\xff\xdd\xe0\0\0\0\0"


def _encapsulated(coded: bytes) -> bytes:
    return b"".join(encode_fragments(iter([coded])))[12:]


def declare_loss(ds: Dataset, frames: Frames) -> None:
    """Declare in the header that the image was once compressed with loss.

    A header that says so already is left alone. The ratio is that of the source
    (PS3.3 C.7.6.1.1.5.2).

    Parameters
    ----------
    ds
        The anonymised header.
    frames
        The image as the source has it.
    """
    method = _LOSSY.get(str(frames.syntax))
    if method is None or str(ds.get("LossyImageCompression", "") or "") == "01":
        return
    plain = frames.frame_bytes * frames.count
    ds.LossyImageCompression = "01"
    ds.LossyImageCompressionRatio = round(plain / max(1, frames.span.end - frames.span.value), 2)
    ds.LossyImageCompressionMethod = method
