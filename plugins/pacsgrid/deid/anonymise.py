"""One file in, one anonymised file out: header rewritten, pixel data copied as bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.sequence import Sequence
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from ..errors import HeldError
from ..model import AnonymisedInstance
from .actions import Context, clean_dataset, new_uid
from .identifiers import StudyIdentifiers
from .pixel import holds
from .pixel.clean import clean_pixels
from .pixels import Span, pixel_span
from .profile import Profile
from .pseudonyms import Pseudonyms
from .quiet import quiet
from .whole import PIXELS, check_whole, truncated

IMPLEMENTATION_CLASS_UID = "2.25.186234175296380211716029837127403219451"
IMPLEMENTATION_VERSION_NAME = "PACSGRID_0_1"
CHUNK = 1 << 20
_OPTION_CODES = {
    "uids": ("113110", "Retain UIDs Option"),
    "device": ("113109", "Retain Device Identity Option"),
    "institution": ("113112", "Retain Institution Identity Option"),
    "patient": ("113108", "Retain Patient Characteristics Option"),
    "full": ("113106", "Retain Longitudinal Temporal Information Full Dates Option"),
    "modified": ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    "descriptors": ("113105", "Clean Descriptors Option"),
    "structured": ("113104", "Clean Structured Content Option"),
    "private": ("113111", "Retain Safe Private Option"),
    "graphics": ("113103", "Clean Graphics Option"),
}


def anonymise_file(
    src: Path,
    out_dir: Path,
    pseudonyms: Pseudonyms,
    profile: Profile,
    study_identifiers: StudyIdentifiers,
) -> AnonymisedInstance:
    """Anonymise one file into ``out_dir/<series UID>/<SOP UID>.dcm`` (PS3.15 Annex E).

    The result appears whole under its name or not at all; its SHA-256 is taken on the way.

    Raises
    ------
    HeldError
        ``not-dicom``, ``truncated``, ``no-study-uid``, ``no-sop-uid``, ``no-transfer-syntax``,
        ``modality-held``, ``burned-in``, ``document``, ``secondary-capture``, ``photograph``,
        ``face``, ``pixels-unreadable`` or ``unreadable``. The text quotes no value.
    """
    with quiet(), src.open("rb") as stream:
        ds, span = _read(stream)
        _refuse(ds, profile)
        patient_id = str(ds.get("PatientID", "") or ds.StudyInstanceUID)
        context = Context(
            pseudonyms,
            profile,
            study_identifiers,
            patient_id,
            pseudonyms.shift_days(patient_id),
            str(ds.SOPClassUID),
        )
        meta = ds.file_meta
        cleaned = clean_pixels(stream, ds, span, profile.pixels)
        if cleaned.syntax:
            meta.TransferSyntaxUID = cleaned.syntax
        pixels = cleaned.element() if cleaned.element else _bytes(stream, span)
        if span is None and cleaned.element:
            ds.PixelData, pixels = b"".join(pixels), iter(())
        try:
            _clean(ds, context)
            cleaned.declare(ds)
            head = _encode(ds, meta)
        except Exception as error:
            # Its text may quote a value; its type says enough to find the place.
            raise HeldError(
                "unreadable", f"the header cannot be processed ({type(error).__name__})"
            ) from None
        target = out_dir / str(ds.SeriesInstanceUID) / f"{ds.SOPInstanceUID}.dcm"
        sha256, size = _write(target, head, pixels)
    return AnonymisedInstance(
        study_uid=str(ds.StudyInstanceUID),
        series_uid=str(ds.SeriesInstanceUID),
        sop_uid=str(ds.SOPInstanceUID),
        subject=pseudonyms.subject(patient_id),
        modality=str(ds.get("Modality", "") or ""),
        sop_class_uid=str(ds.SOPClassUID),
        sha256=sha256,
        size=size,
        path=target,
    )


def _read(stream: BinaryIO) -> tuple[Any, Span | None]:
    """Read the header, and find the pixel data behind it without reading that."""
    try:
        ds = dcmread(stream, stop_before_pixels=True)
        syntax = UID(ds.file_meta.get("TransferSyntaxUID") or "")
        if not syntax:
            raise HeldError("no-transfer-syntax", "the file meta lacks (0002,0010)")
        if not syntax.is_transfer_syntax:
            raise HeldError("unreadable", "the transfer syntax (0002,0010) is not a standard one")
        if syntax == DeflatedExplicitVRLittleEndian:
            stream.seek(0)
            ds = dcmread(stream)  # its pixels are not bytes of the file: taken in whole
            return ds, None
        # Before the values are decoded: of a cut file that would only say that it failed.
        position = check_whole(stream, syntax.is_little_endian, syntax.is_implicit_VR)
    except HeldError:
        raise
    except InvalidDicomError:
        raise HeldError(
            "not-dicom", "the file is not DICOM (PS3.10); remove it from the source"
        ) from None
    except EOFError:
        raise truncated() from None
    except Exception as error:
        raise HeldError(
            "unreadable", f"the header cannot be read ({type(error).__name__})"
        ) from None
    return ds, pixel_span(stream, ds, position, syntax.is_little_endian, syntax.is_implicit_VR)


def _refuse(ds: Any, profile: Profile) -> None:
    if not ds.get("StudyInstanceUID"):
        raise HeldError("no-study-uid", "no StudyInstanceUID (0020,000D); correct it at its origin")
    if not ds.get("SOPInstanceUID") or not ds.get("SOPClassUID"):
        raise HeldError("no-sop-uid", "no SOPInstanceUID or SOPClassUID (0008,0018), (0008,0016)")
    if not ds.get("SeriesInstanceUID"):
        raise HeldError("no-series-uid", "no SeriesInstanceUID (0020,000E)")
    if str(ds.get("Modality", "")) in profile.held_modalities:
        raise HeldError("modality-held", "the profile wants this modality reviewed by a steward")
    holds.refuse(ds, profile.pixels)
    if profile.hold_burned_in and str(ds.get("BurnedInAnnotation", "")).strip() == "YES":
        raise HeldError("burned-in", "BurnedInAnnotation (0028,0301) is YES; a steward must look")


def _clean(ds: Any, context: Context) -> None:
    pseudonyms, profile = context.pseudonyms, context.profile
    uids: tuple[Any, ...] = (ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
    clean_dataset(ds, context)
    ds.SpecificCharacterSet = "ISO_IR 192"
    if "uids" not in profile.options:
        uids = tuple(new_uid(str(uid), pseudonyms) for uid in uids)
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = uids
    ds.PatientID = ds.PatientName = pseudonyms.subject(context.patient_id)
    ds.PatientIdentityRemoved = "YES"
    ds.DeidentificationMethod = f"pacsgrid {profile.name} {profile.hash[:16]}"
    codes = [("113100", "Basic Application Confidentiality Profile")]
    codes += [_OPTION_CODES[option] for option in sorted(profile.options)]
    ds.DeidentificationMethodCodeSequence = Sequence(_code(*code) for code in codes)
    ds.LongitudinalTemporalInformationModified = (
        "UNMODIFIED"
        if "full" in profile.options
        else "MODIFIED"
        if "modified" in profile.options
        else "REMOVED"
    )


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


def _encode(ds: Any, source_meta: Any) -> bytes:
    """Return preamble, file meta and header; no value of the source's file meta but the syntax."""
    syntax = UID(source_meta.TransferSyntaxUID)
    if syntax == DeflatedExplicitVRLittleEndian:
        syntax = ExplicitVRLittleEndian
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    out = DicomBytesIO()
    out.write(b"\0" * 128 + b"DICM")
    write_file_meta_info(out, meta)
    out.is_little_endian = syntax.is_little_endian
    out.is_implicit_VR = syntax.is_implicit_VR
    # Digital signatures and padding behind the pixel data do not survive the rewriting.
    for tag in list(ds.keys()):
        if int(tag) > max(PIXELS):
            del ds[tag]
    write_dataset(out, ds)
    encoded: bytes = out.getvalue()
    return encoded


def _bytes(stream: BinaryIO, span: Span | None) -> Iterator[bytes]:
    if span is None:
        return
    stream.seek(span.start)
    left = span.end - span.start
    while left:
        chunk = stream.read(min(CHUNK, left))
        if not chunk:
            raise HeldError("truncated", "the file became shorter while it was read")
        left -= len(chunk)
        yield chunk


def _write(target: Path, head: bytes, pixels: Iterator[bytes]) -> tuple[str, int]:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".part")
    digest, size = hashlib.sha256(), 0
    try:
        with partial.open("wb") as out:
            for chunk in chain([head], pixels):
                out.write(chunk)
                digest.update(chunk)
                size += len(chunk)
            out.flush()
            os.fsync(out.fileno())
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return digest.hexdigest(), size
