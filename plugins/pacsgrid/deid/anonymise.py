"""Anonymise one file: rewrite its header, copy or clean its pixel data.

A header is rewritten in one of two ways with the same result. From the cache: elements with the
same bytes as in an earlier file of the study are copied as they were written then. In full: the
header is decoded by pydicom, and every element cleaned. The second way is taken by files that the
first cannot read, and it tells why a file is held.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from pydicom import dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)

from ..disk import cannot_store, storing
from ..errors import HeldError
from ..log_suppression import pydicom_suppressed
from ..model import AnonymisedInstance, PatientPrint
from ..review_model import BlankRegion
from ..uids import checked, place
from .actions import ActionContext, clean_dataset
from .atomic_batch import AtomicBatch
from .caching.bounded_cache import BoundedCache
from .caching.element_cache import ElementCache, cache_key, is_cacheable
from .caching.read_tracking import DecisionCache, TrackedHeader
from .codestream.fragments import Fragments, copy_fragments
from .declaration import declare_deidentification
from .encoder import encode_dataset, encode_file_meta, join_elements
from .faces.marks import FileFace
from .header_parser import EncodedHeader, decode_elements, parse_header
from .identifiers import StudyIdentifiers
from .inflate import check_inflates
from .native_pixels import copy_native
from .patient import patient_key, patient_print
from .pixel import visual_holds
from .pixel.cleaning import CleaningResult, clean_pixels
from .pixel.overlays import cleaned_overlays, has_overlays, hidden_in_pixels
from .pixel.selection import needs_text_search
from .pixel.visual_holds import visual_features
from .pixel_location import (
    PixelLayout,
    PixelSpan,
    expected_pixel_bytes,
    find_pixel_span,
    is_image,
    locate_pixels,
    pixel_layout,
)
from .profile import Profile
from .pseudonyms import Pseudonyms
from .regularise import regularise
from .truncation import IrregularError, check_complete, too_deep_error
from .value_repair import repair_dataset_numbers

# Extended Offset Table and Extended Offset Table Lengths (PS3.3 C.7.6.3.1.8).
_OFFSET_TABLES = (0x7FE00001, 0x7FE00002)
# Series, more or less, whose elements are cached at a time.
_MAX_ELEMENT_CACHES = 32


@dataclass
class _Header:
    """A rewritten header, encoded, and what the rest of the pipeline needs of it."""

    encoded: bytes
    patient_id: str
    patient: PatientPrint
    study_uid: str
    series_uid: str
    sop_uid: str
    sop_class_uid: str
    modality: str


@dataclass(frozen=True)
class _Decision:
    """What follows from a header for the pixels.

    ``needs_cleaning`` sends the file the full way; ``image`` and ``expected`` say whether pixel
    data must be there, and how many bytes of it.
    """

    needs_cleaning: bool
    cleaned: CleaningResult
    image: bool
    expected: int
    layout: PixelLayout


class Anonymiser:
    """Anonymises the files of one study.

    Parameters
    ----------
    pseudonyms
        The project's pseudonym space.
    profile
        What is removed, replaced and kept.
    identifiers
        What identifies in the headers of all files of the study (`collect_identifiers`).
    """

    def __init__(
        self, pseudonyms: Pseudonyms, profile: Profile, identifiers: StudyIdentifiers
    ) -> None:
        self._pseudonyms = pseudonyms
        self._profile = profile
        self._identifiers = identifiers
        self._decisions: DecisionCache[_Decision] = DecisionCache()
        self._element_caches: BoundedCache[tuple[object, ...], ElementCache] = BoundedCache(
            _MAX_ELEMENT_CACHES
        )

    def anonymise(
        self,
        src: Path,
        out_dir: Path,
        batch: AtomicBatch | None = None,
        overruled: Collection[str] = (),
        regions: Sequence[BlankRegion] = (),
        face: FileFace | None = None,
    ) -> AnonymisedInstance:
        """Anonymise one file into ``out_dir/<series UID>/<SOP UID>.dcm`` (PS3.15 Annex E).

        The result gets its name once it is complete and on disk.

        Parameters
        ----------
        src
            A DICOM file, or a data set without preamble and file meta.
        out_dir
            Folder for the results; subfolders are made as needed.
        batch
            Collects results that get their names together. Without one, the file is synced to disk
            by itself before this returns.
        overruled
            Codes of reasons for a steward to look that a steward has overruled.
        regions
            What a steward blanks.
        face
            The face to remove, None to remove none.

        Returns
        -------
        AnonymisedInstance
            Pseudonyms, path, size in bytes and SHA-256 of the result.

        Raises
        ------
        HeldError
            ``not-dicom``, ``directory-file``, ``truncated``, ``malformed``, ``too-deep``,
            ``no-study-uid``, ``no-sop-uid``, ``no-transfer-syntax``, ``no-pixels``,
            ``pixels-short``, ``modality-held``, ``burned-in``, ``document``,
            ``secondary-capture``, ``photograph``, ``label``, ``face``, ``pixels-unreadable``,
            ``overlay-unreadable``, ``overlay-in-pixels``, ``bad-value``, ``not-uid``,
            ``patient-unknown``, ``own-pseudonym`` or ``unreadable``: the file cannot go on, for the
            reason in the text, which quotes no value.
        StorageError
            The result cannot be written.
        """
        with pydicom_suppressed(), src.open("rb") as stream:
            try:
                # The caches know nothing of a steward's decisions, nor of faces.
                special = overruled or regions or face
                cached = None if special else self._rewrite_from_cache(stream)
                header, pixels = cached or self._rewrite_fully(stream, overruled, regions, face)
            except IrregularError:
                # Read it as it was meant, or hold it for what is wrong with it.
                header, pixels = self._rewrite_fully(regularise(stream), overruled, regions, face)
            checked(header.study_uid)
            target = place(out_dir, header.series_uid, header.sop_uid, suffix=".dcm")
            with AtomicBatch() as own_batch:
                sha256, size = _write(batch or own_batch, target, out_dir, header.encoded, pixels)
                own_batch.commit()
        return AnonymisedInstance(
            study_uid=header.study_uid,
            series_uid=header.series_uid,
            sop_uid=header.sop_uid,
            subject=self._pseudonyms.subject(header.patient_id),
            modality=header.modality,
            sop_class_uid=header.sop_class_uid,
            sha256=sha256,
            size=size,
            path=target,
            patient=header.patient,
        )

    def _context(self, patient_id: str, sop_class: str) -> ActionContext:
        self._pseudonyms.check_assigned(patient_id)
        return ActionContext(
            self._pseudonyms,
            self._profile,
            self._identifiers,
            patient_id,
            self._pseudonyms.shift_days(patient_id),
            sop_class,
        )

    def _rewrite_from_cache(self, stream: BinaryIO) -> tuple[_Header, Iterator[bytes]] | None:
        """Rewrite a header from the caches, or return None for one that must go the full way."""
        parsed = parse_header(stream)
        if parsed is None or not is_cacheable(parsed):
            return None
        try:
            decision = self._decisions.find(parsed.elements)
            if decision is None:
                decision = self._decide(parsed)
            if decision.needs_cleaning:
                return None
            cache = self._element_cache(parsed, decision)
            elements = cache.rewrite(parsed)
        except HeldError:
            raise
        except Exception:
            return None  # the full way tells what is wrong
        span = find_pixel_span(
            stream, parsed.pixel_start, True, parsed.implicit, decision.image, decision.expected
        )
        _drop_wrong_offsets(stream, span, parsed.implicit, elements)
        texts = [
            elements.get(tag, b"")[8:].rstrip(b"\0 ").decode("latin-1")
            for tag in (0x0020000D, 0x0020000E, 0x00080018, 0x00080016, 0x00080060)
        ]
        study, series, sop, sop_class, modality = texts
        if not all(texts[:4]):
            return None
        encoded = encode_file_meta(sop_class, sop, parsed.syntax) + join_elements(elements)
        made = _Header(
            encoded, cache.patient_id, cache.patient, study, series, sop, sop_class, modality
        )
        return made, _copy_pixels(stream, span, parsed.syntax, decision.layout)

    def _decide(self, parsed: EncodedHeader) -> _Decision:
        ds = decode_elements(parsed, parsed.elements)
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = UID(parsed.syntax)
        repair_dataset_numbers(ds)

        def decide(header: Any) -> _Decision:
            _check_profile_holds(header, self._profile)
            searched = needs_text_search(header, self._profile.pixels)
            return _Decision(
                searched or self._needs_overlay_cleaning(header),
                CleaningResult(features=visual_features(header)),
                is_image(header),
                expected_pixel_bytes(header),
                pixel_layout(header),
            )

        return self._decisions.decide(parsed.elements, TrackedHeader(ds), decide)

    def _needs_overlay_cleaning(self, header: Any) -> bool:
        """Return whether overlay planes must be cleaned, or removed from the pixels."""
        keep = "graphics" in self._profile.options
        return has_overlays(header) if keep else hidden_in_pixels(header)

    def _element_cache(self, parsed: EncodedHeader, decision: _Decision) -> ElementCache:
        key = (parsed.syntax, decision.cleaned.features, *cache_key(parsed))
        cache = self._element_caches.get(key)
        if cache is None:
            ds = decode_elements(parsed, parsed.elements)
            patient_id = patient_key(ds)
            patient = patient_print(ds, self._pseudonyms)
            context = self._context(patient_id, str(ds.SOPClassUID))

            def own(header: Any) -> None:
                _clean_and_replace_uids(header, context)
                declare_deidentification(header, context)
                decision.cleaned.declare(header)

            def sop_uid(uid: str) -> str:
                return context.replace_object_uid(uid)

            cache = ElementCache(
                parsed, patient_id, patient, lambda ds: _clean_in_place(ds, context), own, sop_uid
            )
            self._element_caches.store(key, cache)
        return cache

    def _rewrite_fully(
        self,
        stream: BinaryIO,
        overruled: Collection[str],
        regions: Sequence[BlankRegion],
        face: FileFace | None,
    ) -> tuple[_Header, Iterator[bytes]]:
        stream.seek(0)
        ds, span = read_source(stream)
        try:
            repair_dataset_numbers(ds)
            _check_acceptable(ds, self._profile, {*overruled, "face"} if face else overruled)
            patient_id = patient_key(ds)
            patient = patient_print(ds, self._pseudonyms)
            cleaned = clean_pixels(stream, ds, span, self._profile.pixels, regions, face)
        except HeldError:
            raise
        except RecursionError:
            raise too_deep_error() from None
        except Exception as error:
            raise HeldError(
                "unreadable",
                "a value that the anonymiser needs cannot be decoded "
                f"({type(error).__name__}); correct the file at its origin",
            ) from None
        syntax = cleaned.syntax or UID(ds.file_meta.TransferSyntaxUID)
        planes = cleaned_overlays(ds) if "graphics" in self._profile.options else []
        pixels = (
            cleaned.element()
            if cleaned.element
            else _copy_pixels(stream, span, str(ds.file_meta.TransferSyntaxUID), pixel_layout(ds))
        )
        if span is None and cleaned.element:
            ds.PixelData, pixels = b"".join(pixels), iter(())
        if syntax == DeflatedExplicitVRLittleEndian:
            syntax = ExplicitVRLittleEndian
        try:
            context = self._context(patient_id, str(ds.SOPClassUID))
            _clean_and_replace_uids(ds, context)
            for element in planes:
                ds.add(element)
            declare_deidentification(ds, context)
            cleaned.declare(ds)
            if not cleaned.element:
                _drop_wrong_offsets_of_dataset(stream, span, ds)
            body = encode_dataset(ds, syntax.is_implicit_VR, syntax.is_little_endian)
        except HeldError:
            raise
        except RecursionError:
            raise too_deep_error() from None
        except Exception as error:
            # Its type alone: its text may quote a value.
            raise HeldError(
                "unreadable",
                f"the header cannot be anonymised ({type(error).__name__}); report it with the "
                "file's structure, without its values",
            ) from None
        uids = (str(ds.StudyInstanceUID), str(ds.SeriesInstanceUID), str(ds.SOPInstanceUID))
        sop_class = str(ds.SOPClassUID or "")
        if not sop_class:
            raise HeldError(
                "no-sop-uid", "SOPClassUID (0008,0016) holds no UID; correct it at the source"
            )
        encoded = encode_file_meta(sop_class, uids[2], str(syntax)) + body
        modality = str(ds.get("Modality", "") or "")
        return _Header(encoded, patient_id, patient, *uids, sop_class, modality), pixels


def anonymise_file(
    src: Path,
    out_dir: Path,
    pseudonyms: Pseudonyms,
    profile: Profile,
    study_identifiers: StudyIdentifiers,
) -> AnonymisedInstance:
    """Anonymise one file by itself; see `Anonymiser.anonymise`.

    Parameters
    ----------
    src
        The file.
    out_dir
        Folder for the result: ``<series UID>/<SOP UID>.dcm`` in it.
    pseudonyms
        The project's pseudonym space.
    profile
        What is removed, replaced and kept.
    study_identifiers
        What identifies in the headers of the file's study.

    Returns
    -------
    AnonymisedInstance
        Pseudonyms, path, size in bytes and SHA-256 of the result.

    Raises
    ------
    HeldError
        The file cannot go on.
    StorageError
        The result cannot be written.
    """
    return Anonymiser(pseudonyms, profile, study_identifiers).anonymise(src, out_dir)


def read_source(stream: BinaryIO) -> tuple[Any, PixelSpan | None]:
    """Read the header of a source file, and locate the pixel data behind it without reading it.

    Parameters
    ----------
    stream
        The file.

    Raises
    ------
    HeldError
        The file cannot be read.
    IrregularError
        Its encoding breaks a rule, and may be repaired.
    """
    try:
        check_inflates(stream)
        stream.seek(0)
        ds = dcmread(stream, stop_before_pixels=True)
        syntax = UID(ds.file_meta.get("TransferSyntaxUID") or "")
        if not syntax:
            raise HeldError(
                "no-transfer-syntax",
                "the file meta information has no transfer syntax (0002,0010); have the file's "
                "origin write it anew",
            )
        if not syntax.is_transfer_syntax:
            raise HeldError(
                "unreadable",
                "the transfer syntax (0002,0010) is not one of PS3.6; have the file sent in one",
            )
        if syntax == DeflatedExplicitVRLittleEndian:
            stream.seek(0)
            ds = dcmread(stream)  # inflated in memory: its pixels are not bytes of the file
            return ds, None
        # Before the values are decoded: decoding a truncated file fails without saying why.
        position = check_complete(stream, syntax.is_little_endian, syntax.is_implicit_VR)
    except HeldError:
        raise
    except RecursionError:
        raise too_deep_error() from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno:
            raise  # the disk failed
        raise IrregularError(type(error).__name__) from None
    with suppress(Exception):  # `_rewrite_fully` repairs again, and holds the file
        # Before anything reads a number: pydicom keeps the first one that it decodes.
        repair_dataset_numbers(ds)
    return ds, locate_pixels(stream, ds, position, syntax.is_little_endian, syntax.is_implicit_VR)


def _check_acceptable(ds: Any, profile: Profile, overruled: Collection[str]) -> None:
    if ds.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage or (
        "DirectoryRecordSequence" in ds and "SOPClassUID" not in ds
    ):
        raise HeldError(
            "directory-file",
            "a directory of a file-set (DICOMDIR, PS3.10 8.6); the files that it lists are taken "
            "by themselves",
        )
    if not _uid(ds, "StudyInstanceUID"):
        raise HeldError(
            "no-study-uid",
            "StudyInstanceUID (0020,000D) has no value, or several; correct it at the source",
        )
    if not _uid(ds, "SOPInstanceUID") or not _uid(ds, "SOPClassUID"):
        raise HeldError(
            "no-sop-uid",
            "SOPInstanceUID (0008,0018) or SOPClassUID (0008,0016) has no value, or several; "
            "correct it at the source",
        )
    if not _uid(ds, "SeriesInstanceUID"):
        raise HeldError(
            "no-series-uid",
            "SeriesInstanceUID (0020,000E) has no value, or several; correct it at the source",
        )
    _check_profile_holds(ds, profile, overruled)


def _uid(ds: Any, keyword: str) -> str:
    """Return the UID that an element holds; empty when it holds none, or several values."""
    element = ds.get_item(keyword)
    if element is None or element.VR in ("DS", "IS"):
        return ""
    value = ds.get(keyword)
    return value if isinstance(value, str) else ""


def _check_profile_holds(ds: Any, profile: Profile, overruled: Collection[str] = ()) -> None:
    held_modality = str(ds.get("Modality", "")) in profile.held_modalities
    if held_modality and "modality-held" not in overruled:
        raise HeldError(
            "modality-held", "the profile holds this modality for review: a steward must look at it"
        )
    visual_holds.check_visual_holds(ds, profile.pixels, overruled)
    burned_in = str(ds.get("BurnedInAnnotation", "")).strip() == "YES"
    if profile.hold_burned_in and burned_in and "burned-in" not in overruled:
        raise HeldError(
            "burned-in",
            "BurnedInAnnotation (0028,0301) is YES: text in the pixels may identify; a steward "
            "must look at the image",
        )


def _clean_in_place(ds: Any, context: ActionContext) -> None:
    clean_dataset(ds, context)
    ds.SpecificCharacterSet = "ISO_IR 192"


def _clean_and_replace_uids(ds: Any, context: ActionContext) -> None:
    """Apply the profile to a whole header, and replace its UIDs, in place."""
    study = context.replace_uid(str(ds.StudyInstanceUID).strip(" \0"))
    series = context.replace_object_uid(str(ds.SeriesInstanceUID).strip(" \0"))
    sop = context.replace_object_uid(str(ds.SOPInstanceUID).strip(" \0"))
    _clean_in_place(ds, context)
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = study, series, sop


def _copy_pixels(
    stream: BinaryIO, span: PixelSpan | None, syntax: str, layout: PixelLayout
) -> Iterator[bytes]:
    if span is None:
        return iter(())
    if span.encapsulated:
        return copy_fragments(stream, span, syntax, layout)
    return copy_native(stream, span, syntax, layout)


def _drop_wrong_offsets(
    stream: BinaryIO, span: PixelSpan | None, implicit: bool, elements: dict[int, bytes]
) -> None:
    """Drop an extended offset table that does not lead to the fragments (PS3.3 C.7.6.3.1.8)."""
    head = 8 if implicit else 12
    tables = [elements[tag][head:] for tag in _OFFSET_TABLES if tag in elements]
    if tables and not _offsets_are_right(stream, span, tables):
        for tag in _OFFSET_TABLES:
            elements.pop(tag, None)


def _drop_wrong_offsets_of_dataset(stream: BinaryIO, span: PixelSpan | None, ds: Any) -> None:
    tables = [ds[tag].value for tag in _OFFSET_TABLES if tag in ds]
    if tables and not _offsets_are_right(stream, span, tables):
        for tag in _OFFSET_TABLES:
            ds.pop(tag, None)


def _offsets_are_right(stream: BinaryIO, span: PixelSpan | None, tables: list[Any]) -> bool:
    if span is None or not span.encapsulated or len(tables) != len(_OFFSET_TABLES):
        return False
    if not all(isinstance(table, bytes) for table in tables):
        return False
    return Fragments(stream, span).extended(*tables)


def _write(
    batch: AtomicBatch, target: Path, root: Path, head: bytes, pixels: Iterator[bytes]
) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    out = batch.open(target, root)
    try:
        for chunk in chain([head], pixels):
            try:
                out.write(chunk)
            except OSError as error:
                raise cannot_store(target.parent.parent, error) from None
            digest.update(chunk)
            size += len(chunk)
        with storing(target.parent.parent):
            out.flush()
    except BaseException:
        batch.discard(target)
        raise
    return digest.hexdigest(), size
