"""Instances read and converted whole, within bounds: inflated (PS3.5 A.5), made explicit (A.2)."""

from __future__ import annotations

import warnings
import zlib
from io import SEEK_END, BytesIO
from typing import Any, BinaryIO

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite
from pydicom.pixels import get_decoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
)

from pacsgrid.errors import PacsgridError
from pacsgrid.pacs.part10 import HEAD, MOST_META, read_meta

EXPLICIT = str(ExplicitVRLittleEndian)
# Bytes of an instance that is converted in memory, inflated or as it is stored.
MOST_WHOLE = 80 << 20
_STEP = 1 << 20
_SWAPPED = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}


class UndecodableError(PacsgridError):
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


def inflated(file: BinaryIO, **options: Any) -> Dataset:
    """Read a file with `dcmread`; a deflated one only if it does not grow beyond measure.

    Raises
    ------
    CannotDecode
        It would take more memory than there is for one request.
    """
    bound_inflation(file)
    return dcmread(file, **options)


def bound_inflation(file: BinaryIO) -> None:
    """Refuse a deflated file that grows beyond measure; raises CannotDecode."""
    head = file.read(HEAD + MOST_META)
    file.seek(0)
    meta = read_meta(head)
    if meta and meta.transfer_syntax == DeflatedExplicitVRLittleEndian:
        file.seek(meta.end)
        inflater, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
        try:
            while piece := file.read(_STEP):
                while piece:
                    size += len(inflater.decompress(piece, _STEP))
                    if size > MOST_WHOLE:
                        raise UndecodableError(
                            "the instance is too large inflated; take it as stored"
                        )
                    piece = inflater.unconsumed_tail
        except zlib.error:
            pass  # whoever reads it tells
        file.seek(0)


def converted(file: BinaryIO) -> bytes:
    """Return an instance's file in Explicit VR Little Endian; it must not be compressed.

    Raises
    ------
    CannotDecode
        It cannot be read, or is too large.
    """
    size = file.seek(0, SEEK_END)
    file.seek(0)
    if size > MOST_WHOLE:
        raise UndecodableError("the instance is too large to be converted; ask for it as stored")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            source = inflated(file)
            syntax = source.file_meta.TransferSyntaxUID
            if syntax == ExplicitVRBigEndian:
                _swap(source)
            target = BytesIO()
            write_explicit(target, source)
        except UndecodableError:
            raise
        except Exception as error:  # pydicom raises what it likes
            raise UndecodableError(
                f"the instance cannot be decoded: {type(error).__name__}; ask for it as stored"
            ) from None
    return target.getvalue()


def write_explicit(target: BytesIO, source: Dataset) -> None:
    """Write a file in Explicit VR Little Endian; pixel data must not be encapsulated."""
    source.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dcmwrite(target, source, implicit_vr=False, little_endian=True, enforce_file_format=True)


def _swap(dataset: Dataset) -> None:
    """Turn the bytes of words that pydicom leaves as they are."""
    for element in dataset.iterall():
        width = _SWAPPED.get(element.VR)
        if width and isinstance(element.value, bytes):
            element.value = np.frombuffer(element.value, f"u{width}").byteswap().tobytes()
