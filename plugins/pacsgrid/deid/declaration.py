"""Record the de-identification in the result (PS3.15 E.1.1, PS3.3 C.12.1.1.1, C.7.1.1)."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from .actions import ActionContext

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
    "acquisition": ("113111", "Retain Safe Private Option"),
    "graphics": ("113103", "Clean Graphics Option"),
}


def declare_deidentification(ds: Any, context: ActionContext) -> None:
    """Write the subject's pseudonym, the method and the options into a cleaned header, in place.

    Parameters
    ----------
    ds
        The header.
    context
        Profile and pseudonyms that it was cleaned with.
    """
    profile = context.profile
    ds.PatientID = ds.PatientName = context.pseudonyms.subject(context.patient_id)
    ds.PatientIdentityRemoved = "YES"
    ds.DeidentificationMethod = f"pacsgrid {profile.name} {profile.hash[:16]}"
    codes = [("113100", "Basic Application Confidentiality Profile")]
    # Two options share a code; each code stands once.
    codes += dict.fromkeys(_OPTION_CODES[option] for option in sorted(profile.options))
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
