"""Read whose files these are, before they are anonymised."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import dcmread

from ..log_suppression import pydicom_suppressed
from .header_parser import decode_elements, parse_header
from .inflate import check_inflates
from .patient import issuer_of, patient_key
from .regularise import regularise
from .truncation import IrregularError

# SpecificCharacterSet, PatientID and its issuers, StudyInstanceUID.
_TAGS = (0x00080005, 0x00100020, 0x00100021, 0x00100024, 0x0020000D)


@dataclass(frozen=True)
class HeaderPatient:
    """The patient that a header names. Identifies a person: keep it in memory only.

    Attributes
    ----------
    key
        What the pseudonym is derived from, see `patient_key`.
    patient_id, issuer
        PatientID (0010,0020) and its issuer, each empty where the header has none.
    """

    key: str
    patient_id: str
    issuer: str

    def __repr__(self) -> str:
        """Return a text that holds no identifying value."""
        return "HeaderPatient(...)"


def read_patients(files: Iterable[Path]) -> set[HeaderPatient]:
    """Return the patients that the headers of files name.

    A file that cannot be read is skipped: the anonymiser holds it, and names the reason.

    Parameters
    ----------
    files
        The files.
    """
    # Most files of a study have the same elements, byte for byte.
    known: dict[tuple[object, ...], HeaderPatient] = {}
    found: set[HeaderPatient] = set()
    for path in files:
        try:
            with pydicom_suppressed():
                found.add(_read(path, known))
        except Exception:
            continue
    return found


def _read(path: Path, known: dict[tuple[object, ...], HeaderPatient]) -> HeaderPatient:
    with path.open("rb") as stream:
        try:
            parsed = parse_header(stream)
            if parsed is None:
                check_inflates(stream)
                stream.seek(0)
                return _patient(dcmread(stream, stop_before_pixels=True))
        except IrregularError:
            return _patient(dcmread(regularise(stream), stop_before_pixels=True))
        wanted = {tag: parsed.elements[tag] for tag in _TAGS if tag in parsed.elements}
        key = (parsed.implicit, *wanted.items())
        if key not in known:
            known[key] = _patient(decode_elements(parsed, wanted))
        return known[key]


def _patient(ds: Any) -> HeaderPatient:
    return HeaderPatient(
        patient_key(ds), str(ds.get("PatientID", "") or "").strip(" \0"), issuer_of(ds)
    )
