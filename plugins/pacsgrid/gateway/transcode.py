"""Instances in Explicit VR Little Endian, whatever they are stored in (PS3.5 A.2)."""

from __future__ import annotations

import warnings
from io import BytesIO

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite
from pydicom.pixels import get_decoder
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian

from pacsgrid.errors import PacsgridError

EXPLICIT = str(ExplicitVRLittleEndian)
_SWAPPED = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}


class CannotDecode(PacsgridError):
    """An instance's pixel data cannot be decoded here."""


def decodable(syntax: str) -> bool:
    """Whether what is stored in a transfer syntax can be given in Explicit VR Little Endian."""
    uid = UID(syntax)
    if not uid.is_transfer_syntax:
        return False
    if not uid.is_compressed or uid.is_deflated:
        return True
    try:
        return bool(get_decoder(uid).is_available)
    except NotImplementedError:
        return False


def as_explicit(data: bytes) -> bytes:
    """Return an instance's file in Explicit VR Little Endian; unchanged if it is already.

    Raises
    ------
    CannotDecode
        There is no decoder for its transfer syntax, or its pixel data is broken.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            source = dcmread(BytesIO(data))
            syntax = source.file_meta.TransferSyntaxUID
            if syntax == ExplicitVRLittleEndian:
                return data
            if syntax.is_encapsulated and "PixelData" in source:
                source.decompress(generate_instance_uid=False)
            elif syntax == ExplicitVRBigEndian:
                _swap(source)
            source.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            target = BytesIO()
            dcmwrite(
                target, source, implicit_vr=False, little_endian=True, enforce_file_format=True
            )
        except Exception as error:  # decoders raise what they like
            raise CannotDecode(
                f"the instance cannot be decoded: {type(error).__name__}; ask for it as stored"
            ) from None
    return target.getvalue()


def _swap(dataset: Dataset) -> None:
    """Turn the bytes of words that pydicom leaves as they are."""
    for element in dataset.iterall():
        width = _SWAPPED.get(element.VR)
        if width and isinstance(element.value, bytes):
            element.value = np.frombuffer(element.value, f"u{width}").byteswap().tobytes()
