"""Results: take what researchers made of deposited instances back into the grid.

An object is checked while its sender waits. If it fits, it is put into the outbox and the ledger
and from then on treated as an anonymised study: deposited beside the study, replicated, proven.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from pacsgrid.deid.check import Identity, pixel_text
from pacsgrid.deid.check.identity_search import IdentitySearch
from pacsgrid.deid.check.reader import Header
from pacsgrid.deid.check.result import (
    PatientTest,
    ResultUids,
    check_result,
    read_result,
    uids_of,
)
from pacsgrid.deid.text_folding import fold
from pacsgrid.disk import sha256_of, sync_directories
from pacsgrid.errors import ConfigError, ConflictError, NotTakenError, RetryableError
from pacsgrid.ledger.codes import WITHDRAWN
from pacsgrid.ledger.results import SOURCE
from pacsgrid.model import AnonymisedInstance, StudyState
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.result_iod import check_iod
from pacsgrid.pipeline.steps import LOCK_SECONDS, attempt, clear_work_folders
from pacsgrid.uids import is_uid, named, place

log = logging.getLogger(__name__)

_LONGEST_SOFTWARE = 200


@dataclass(frozen=True)
class Deposited:
    """What a sender may read of the study that an object refers to.

    Attributes
    ----------
    study_uid, subject
        Pseudonyms.
    classes
        SOP Class UID by SOP Instance UID.
    series
        Series UIDs.
    headers
        The header of one instance of each series that the object refers to, at least one.
    """

    study_uid: str
    subject: str
    classes: Mapping[str, str]
    series: frozenset[str]
    headers: Sequence[Header]


@dataclass(frozen=True)
class CheckedObject:
    """An object that may be taken.

    Attributes
    ----------
    path
        The file.
    study_uid, series_uid, sop_uid, subject
        Its UIDs, and the patient's pseudonym.
    """

    path: Path
    study_uid: str
    series_uid: str
    sop_uid: str
    sop_class: str
    subject: str
    modality: str
    software: str


def references(path: Path) -> tuple[Header, ResultUids]:
    """Return an object's header and its UIDs, to look up what it refers to.

    Raises
    ------
    NotTakenError
        ``not-clean``: it cannot be read.
    """
    header = read_result(path)
    return header, uids_of(header)


def check_object(
    context: ProjectContext,
    path: Path,
    header: Header,
    uids: ResultUids,
    deposited: Deposited,
    who: str,
) -> CheckedObject:
    """Check an object that came back.

    Parameters
    ----------
    context
        The project of the study that it refers to.
    path
        The file.
    header, uids
        What `references` returned.
    deposited
        What the sender may read of that study.
    who
        The sender.

    Returns
    -------
    CheckedObject
        What `keep_object` needs.

    Raises
    ------
    NotTakenError
        Why it is refused; the text is for the sender and quotes no value.
    """
    ds = _read(path)
    kind = check_iod(ds, header.pixel_length)
    _check_references(context, ds, uids, deposited, who)
    ref = context.ledger.results.study_of(context.project.name, deposited.study_uid)
    if not ref or context.ledger.withdrawals.is_withdrawn(context.project.name, deposited.subject):
        raise NotTakenError(WITHDRAWN, "this site no longer has the study, or the patient withdrew")
    identity = _identity(context, ref)
    test = _patient_test(context, deposited.subject)
    check_result(header, deposited.headers[0], deposited.subject, identity, test)
    if kind == "derived image" and pixel_text.needs_reading(header, context.profile.pixels.look):
        pixel_text.check_text(path, IdentitySearch(identity), frozenset())
    return CheckedObject(
        path,
        deposited.study_uid,
        str(ds.SeriesInstanceUID),
        str(ds.SOPInstanceUID),
        str(ds.SOPClassUID),
        deposited.subject,
        str(ds.Modality),
        _software(ds),
    )


def _read(path: Path) -> Dataset:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's warnings quote values
            ds = dcmread(path, stop_before_pixels=True)
            ds.walk(lambda dataset, element: None)  # decode every element now
            return ds
    except Exception as error:  # pydicom raises any type of exception for malformed files
        raise NotTakenError("not-clean", f"it cannot be read: {type(error).__name__}") from None


def _check_references(
    context: ProjectContext, ds: Dataset, uids: ResultUids, deposited: Deposited, who: str
) -> None:
    """Check the UIDs of an object: what it refers to, and that none identifies the patient."""
    own, series = str(ds.SOPInstanceUID), str(ds.SeriesInstanceUID)
    ledger, project = context.ledger, context.project.name
    if not is_uid(own) or not is_uid(series):
        raise NotTakenError("attribute-invalid", "one of its UIDs is no UID (PS3.5 9.1)")
    known = dict(deposited.classes)
    mine: set[str] = set()
    for result in ledger.results.of_project(project, deposited.study_uid):
        rows = ledger.instances.of_study(result.ref)
        mine |= {row.series_uid for row in rows}
        known |= {
            item.sop_uid: item.sop_class
            for item in ledger.results.items(result.ref)
            if item.who == who
        }
    if uids.studies != {deposited.study_uid}:
        raise NotTakenError("reference-mismatch", "it refers to another study than its own")
    if series in deposited.series - mine:
        raise NotTakenError(
            "reference-mismatch", "its series is one of the deposited images; use a new series UID"
        )
    told = {uid for header in deposited.headers for uid in uids_of(header).all}
    if uids.series - {series} - deposited.series - mine - told:
        raise NotTakenError("reference-missing", "it refers to a series that you may not read")
    for sop_class, sop in uids.references:
        if sop in (own, deposited.study_uid):
            continue
        if sop not in known:
            if sop in told:
                continue
            raise NotTakenError(
                "reference-missing",
                "it refers to an instance that is not in the study, or that you may not read",
            )
        if known[sop] and sop_class and known[sop] != sop_class:
            raise NotTakenError(
                "reference-mismatch", "a Referenced SOP Class UID is not that of its instance"
            )
    if not any(sop in deposited.classes for _, sop in uids.references):
        raise NotTakenError("reference-missing", "it refers to no instance of the study")
    frames = {uid for header in deposited.headers for uid in uids_of(header).frames}
    if frames and uids.frames - frames:
        raise NotTakenError(
            "reference-mismatch",
            "its Frame of Reference UID (0020,0052) is not that of the images it refers to",
        )
    # An original UID is told by its pseudonym: it stands for something that was deposited.
    pseudonyms = [context.pseudonyms.uid(uid) for uid in uids.all]
    if ledger.results.issued(project, pseudonyms):
        raise NotTakenError("identity-left", "it holds an original UID; refer to pseudonyms alone")


def _identity(context: ProjectContext, ref: str) -> Identity:
    """Return what the vault knows of a study's patient, to search for it."""
    opened = context.vault.open(ref, context.ledger.vault.sealed(ref))
    patient = opened.get("patient_id", "").strip()
    return Identity(
        ids={patient} if patient else set(),
        names={patient} if patient.isalpha() and len(patient) >= 6 else set(),
        original_uids={opened.get("study_uid", "").encode()} - {b""},
    )


def _patient_test(context: ProjectContext, subject: str) -> PatientTest:
    known = context.ledger.patients.get(context.project.name, subject)
    names = known.family | known.given
    hashed = context.pseudonyms.patient

    def is_name(word: str) -> bool:
        return any(hashed("name", part) in names for part in fold(word).split())

    def is_birth(date: str) -> bool:
        return bool(known.birth) and hashed("birth", date) == known.birth

    return PatientTest(is_name, is_birth)


def _software(ds: Dataset) -> str:
    """Return what made an object: manufacturer, model and versions, as it says itself."""
    words = [str(ds.get(one) or "") for one in ("Manufacturer", "ManufacturerModelName")]
    versions = ds.get("SoftwareVersions") or ()
    words += [versions] if isinstance(versions, str) else [str(one) for one in versions]
    text = " ".join(word for word in words if word.strip())
    return "".join(one for one in text if one.isprintable())[:_LONGEST_SOFTWARE]


def keep_object(context: ProjectContext, name: str, who: str, checked: CheckedObject) -> str:
    """Keep an object: its file is in the outbox, and the ledger knows it, when this returns.

    The same object again changes nothing.

    Parameters
    ----------
    context
        The project.
    name
        The result's name.
    who
        The sender.
    checked
        The object; its file is moved, or removed if it was kept before.

    Returns
    -------
    str
        The result's reference, for `deposit_result`.

    Raises
    ------
    NotTakenError
        ``duplicate``: the project has another object or series with the same UID.
    RetryableError
        The ledger does not answer, or the result is being deposited for long.
    """
    ledger, project = context.ledger, context.project.name
    current = ledger.results.study_of(project, checked.study_uid)
    study_ref = ledger.results.place_of(current, name)
    ref = context.pseudonyms.reference(f"{SOURCE}:{named(name)}", study_ref)
    others = ledger.studies.find_by_pseudonym(project, checked.series_uid)
    if set(others) - {ref}:
        raise NotTakenError("duplicate", "another result has this series UID; use a new one")
    made = AnonymisedInstance(
        study_uid=checked.study_uid,
        series_uid=checked.series_uid,
        sop_uid=checked.sop_uid,
        subject=checked.subject,
        modality=checked.modality,
        sop_class_uid=checked.sop_class,
        sha256=sha256_of(checked.path),
        size=checked.path.stat().st_size,
        path=place(context.folders(ref).outbox, checked.series_uid, checked.sop_uid, suffix=".dcm"),
        result=name,
    )
    identity = context.vault.open(current, ledger.vault.sealed(current))
    with ledger.studies.lock(ref, LOCK_SECONDS) as ours:
        if not ours:
            raise RetryableError(f"{ref}: the result is being deposited; try again later")
        known = {row.sop_uid: row for row in ledger.instances.of_study(ref)}.get(checked.sop_uid)
        if known is not None:
            if known.sha256 != made.sha256:
                raise NotTakenError("duplicate", "the study has this instance with other content")
            checked.path.unlink()
            return ref
        made.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.replace(checked.path, made.path)
        sync_directories([made.path.parent, made.path.parent.parent, context.site.outbox])
        try:
            with ledger.database.transaction():
                ledger.results.add(ref, study_ref, name, context.vault.seal(ref, identity))
                ledger.instances.add(ref, [made])
                ledger.results.add_items(
                    ref, who, [(made.sop_uid, checked.sop_class, checked.software)]
                )
                ledger.results.reopen(ref)
                context.issued_uids.enter([made.series_uid, made.sop_uid])
        except ConflictError:
            made.path.unlink()
            raise NotTakenError(
                "duplicate", "the project has another object with this UID"
            ) from None
    return ref


def deposit_result(context: ProjectContext, ref: str) -> bool:
    """Deposit, replicate and verify a result; raises no error.

    Parameters
    ----------
    context
        The project.
    ref
        The result's reference.

    Returns
    -------
    bool
        Whether it is verified; what is not yet is seen to by the nightly maintenance.
    """
    done = attempt(context, "verify", ref).through
    clear_work_folders(context, [ref])
    return done


def pending_results(context: ProjectContext) -> list[str]:
    """Return the results whose files are in this machine's outbox and that are not verified."""
    states = (StudyState.ANONYMISED, StudyState.DEPOSITED, StudyState.REPLICATED)
    return [
        one.ref
        for one in context.ledger.results.of_project(context.project.name)
        if context.folders(one.ref).outbox.is_dir()
        and context.ledger.studies.state(one.ref) in states
    ]


def decide_release(
    context: ProjectContext, ref: str, released: bool, who: str, reason: str
) -> None:
    """Decide whether cohorts include a result.

    Parameters
    ----------
    context
        The project.
    ref
        The result's reference.
    released
        Whether they do.
    who
        The steward's name.
    reason
        Why.

    Raises
    ------
    ConfigError
        The project has no such result.
    """
    result = context.ledger.results.get(ref)
    if result is None or result.project != context.project.name:
        raise ConfigError(f"project {context.project.name} has no result {ref}")
    verdict = "release-result" if released else "withhold-result"
    context.ledger.audit.add_decision(ref, verdict, who, reason)
    context.ledger.results.set_released(ref, released)
