"""Encode a result: preamble, file meta information, data set (PS3.10 7.1)."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any

from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from .truncation import PIXEL_DATA_TAGS

IMPLEMENTATION_CLASS_UID = "2.25.186234175296380211716029837127403219451"
IMPLEMENTATION_VERSION_NAME = "PACSGRID_0_1"


def encode_file_meta(sop_class: str, sop_uid: str, syntax: str) -> bytes:
    """Return preamble and file meta information.

    Parameters
    ----------
    sop_class, sop_uid
        SOP Class UID, and the pseudonym of the SOP Instance UID.
    syntax
        Transfer syntax UID. Nothing else is taken from the source's file meta information.

    Returns
    -------
    bytes
        The beginning of the file, up to the data set.
    """
    front, back = _around(sop_class, syntax)
    body = front + _element(3, b"UI", sop_uid.encode()) + back
    length = struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(body))
    return b"\0" * 128 + b"DICM" + length + body


@lru_cache(maxsize=256)
def _around(sop_class: str, syntax: str) -> tuple[bytes, bytes]:
    version = struct.pack("<HH2sHL", 2, 1, b"OB", 0, 2) + b"\0\1"
    back = _element(0x10, b"UI", syntax.encode())
    back += _element(0x12, b"UI", IMPLEMENTATION_CLASS_UID.encode())
    back += _element(0x13, b"SH", IMPLEMENTATION_VERSION_NAME.encode())
    return version + _element(2, b"UI", sop_class.encode()), back


def _element(low: int, vr: bytes, value: bytes) -> bytes:
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", 2, low, vr, len(value)) + value


def encode_dataset(ds: Any, implicit: bool, little: bool) -> bytes:
    """Encode a header, up to the pixel data.

    Elements behind the pixel data (digital signatures, padding) are removed from `ds`.

    Parameters
    ----------
    ds
        The header as a dataset.
    implicit, little
        Whether to write no VRs, and the byte order.

    Returns
    -------
    bytes
    """
    for tag in list(ds.keys()):
        if int(tag) > max(PIXEL_DATA_TAGS):
            del ds[tag]
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = little, implicit
    write_dataset(out, ds)
    encoded: bytes = out.getvalue()
    return encoded


def join_elements(elements: dict[int, bytes]) -> bytes:
    """Join encoded elements in the order of their tags."""
    return b"".join([elements[tag] for tag in sorted(elements)])
