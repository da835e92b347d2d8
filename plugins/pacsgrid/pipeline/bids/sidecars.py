"""Clean and check what dcm2niix writes beside an image: no key and no text may identify anyone.

All of it comes from files that were anonymised and checked. This is a second look, by the study's
identity in the vault.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pacsgrid.deid.check.identity import Identity
from pacsgrid.deid.check.identity_search import IdentitySearch
from pacsgrid.errors import HeldError
from pacsgrid.pipeline.bids.naming import NamedImage

# Who, where and when; dcm2niix leaves most of them out itself.
IDENTIFYING = frozenset(
    {
        "AccessionNumber", "AcquisitionDate", "AcquisitionDateTime", "AcquisitionTime",
        "ContentDate", "ContentTime", "DeviceSerialNumber", "ImageComments", "InstanceCreationDate",
        "InstitutionAddress", "InstitutionName", "InstitutionalDepartmentName",
        "OperatorsName", "PatientAddress", "PatientAge", "PatientBirthDate", "PatientComments",
        "PatientID", "PatientName", "PatientSex", "PatientSize", "PatientWeight",
        "PerformingPhysicianName", "ProcedureStepDescription", "ReferringPhysicianName",
        "RequestedProcedureDescription", "SeriesDate", "SeriesInstanceUID", "SeriesTime",
        "StationName", "StudyComments", "StudyDate", "StudyDescription", "StudyID",
        "StudyInstanceUID", "StudyTime", "TimeOfLastCalibration",
    }
)  # fmt: skip
# Guesses, which the rules replace.
_NOT_KEPT = frozenset({"BidsGuess"})


def clean_sidecar(image: NamedImage) -> dict[str, Any]:
    """Return an image's sidecar without what could identify, and with the task of a func image."""
    kept = {
        key: value
        for key, value in image.image.sidecar.items()
        if key not in IDENTIFYING | _NOT_KEPT
    }
    return {**kept, "TaskName": image.task} if image.task else kept


def identity_of(opened: Mapping[str, str]) -> Identity:
    """Return what the vault knows of a study as the checker compares it.

    Parameters
    ----------
    opened
        The study's sealed identity, opened.
    """
    identity = Identity()
    if patient := opened.get("patient_id", ""):
        identity.ids.add(patient)
    if uid := opened.get("study_uid", ""):
        identity.original_uids.add(uid.encode())
    return identity


def check_image(image: NamedImage, sidecar: Mapping[str, Any], identity: Identity) -> None:
    """Check an image's sidecar and header.

    Parameters
    ----------
    image
        The image.
    sidecar
        Its sidecar as it will be kept.
    identity
        What identifies the study.

    Raises
    ------
    HeldError
        ``identity-left``: a key or a text identifies. The message does not quote the text.
    """
    if left := IDENTIFYING & sidecar.keys():
        raise HeldError("identity-left", f"a sidecar has the key {sorted(left)[0]}")
    search = IdentitySearch(identity)
    uids = [uid.decode() for uid in identity.original_uids]
    for key, text in (*_texts("", sidecar), *(("header", text) for text in image.image.texts)):
        if search.search_text(text) or any(uid in text for uid in uids):
            raise HeldError(
                "identity-left",
                f"{key or 'a key'} of a converted image holds an identifying value; correct the "
                "profile, and withdraw or anonymise the study again",
            )


def _texts(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield "", str(name)
            yield from _texts(str(name), inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(key, inner)
    elif isinstance(value, str):
        yield key, value


def dump(sidecar: Mapping[str, Any]) -> bytes:
    """Return a sidecar as it is stored."""
    return (json.dumps(sidecar, indent=2, ensure_ascii=False) + "\n").encode()
