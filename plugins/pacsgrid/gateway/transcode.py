"""Read and convert whole instances, with a limit to their size.

Deflated instances (PS3.5 A.5) are inflated; any uncompressed instance can be converted to
Explicit VR Little Endian (PS3.5 A.2).
"""

from __future__ import annotations

import warnings
import zlib
from io import SEEK_END, BytesIO
from typing import BinaryIO

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
# Bytes of an instance that is inflated or converted in memory.
MOST_WHOLE = 80 << 20
_STEP = 1 << 20
_SWAPPED = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}


class UndecodableError(PacsgridError):
    """An instance cannot be read or decoded here."""


def decodable(syntax: str) -> bool:
    """Whether instances in a transfer syntax can be converted to Explicit VR Little Endian."""
    uid = UID(syntax)
    if not uid.is_transfer_syntax:
        return False
    if not uid.is_compressed or uid.is_deflated:
        return True
    try:
        return bool(get_decoder(uid).is_available)
    except NotImplementedError:
        return False


def inflated(file: BinaryIO, stop_before_pixels: bool = False) -> Dataset:
    """Read a file with `dcmread`; check first how large a deflated one becomes.

    Parameters
    ----------
    file
        The file, open at its start.
    stop_before_pixels
        Read only what precedes the pixel data.

    Returns
    -------
    Dataset
        The dataset with its file meta information.

    Raises
    ------
    UndecodableError
        Inflated, the dataset would be larger than 80 MiB.
    InvalidDicomError
        The file is not in DICOM format; pydicom may raise further errors for malformed files.
    """
    check_inflated_size(file)
    return dcmread(file, stop_before_pixels=stop_before_pixels)


def check_inflated_size(file: BinaryIO) -> None:
    """Refuse a deflated file that is larger than 80 MiB inflated.

    Raises
    ------
    UndecodableError
        The file is too large.
    """
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
                            "the instance is too large to be inflated; request it in its stored"
                            " transfer syntax"
                        )
                    piece = inflater.unconsumed_tail
        except zlib.error:
            pass  # reading the dataset will report it
        file.seek(0)


def converted(file: BinaryIO) -> bytes:
    """Return an uncompressed instance's file in Explicit VR Little Endian.

    Raises
    ------
    UndecodableError
        The file cannot be read, or is larger than 80 MiB.
    """
    size = file.seek(0, SEEK_END)
    file.seek(0)
    if size > MOST_WHOLE:
        raise UndecodableError(
            "the instance is too large to be converted; request it in its stored transfer syntax"
        )
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
        except Exception as error:  # pydicom may raise anything
            raise UndecodableError(
                f"the instance cannot be converted ({type(error).__name__}); request it in its"
                " stored transfer syntax"
            ) from None
    return target.getvalue()


def write_explicit(target: BytesIO, source: Dataset) -> None:
    """Write a DICOM file in Explicit VR Little Endian (PS3.5 A.2).

    Parameters
    ----------
    target
        Receives the file.
    source
        The dataset with its file meta information, whose transfer syntax is replaced. Its pixel
        data must not be encapsulated.
    """
    source.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dcmwrite(target, source, implicit_vr=False, little_endian=True, enforce_file_format=True)


def _swap(dataset: Dataset) -> None:
    """Reverse the byte order of binary values, which pydicom leaves as they are."""
    for element in dataset.iterall():
        width = _SWAPPED.get(element.VR)
        if width and isinstance(element.value, bytes):
            element.value = np.frombuffer(element.value, f"u{width}").byteswap().tobytes()
