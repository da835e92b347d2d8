"""Anonymise a study from staging to outbox, check it, and hold what must not go on."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pacsgrid.deid import (
    AssignedSubject,
    ProcessedFiles,
    StudyRulings,
    join_reports,
    merge_patient_prints,
    patient_conflict,
    read_image,
    study_report,
)
from pacsgrid.deid.patient_keys import read_patients
from pacsgrid.disk import sha256_of, sync_directories
from pacsgrid.errors import HeldError
from pacsgrid.ledger import InstanceRecord
from pacsgrid.model import AnonymisedInstance
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.received_cleanup import ProvenInstances, is_received, proven_instances
from pacsgrid.pipeline.reprofile import check_nothing_is_missing
from pacsgrid.pipeline.staged_list import staged_files
from pacsgrid.review_model import BLANKABLE

log = logging.getLogger(__name__)


def anonymise(context: ProjectContext, ref: str) -> None:
    """Anonymise and check a staged study, and enter its instances into the ledger.

    A single bad file is held and the others go on. When the checker finds an identifying value,
    the whole study is held: the profile then cannot be trusted with any of it.

    A received study that was reopened is processed only as far as its files are new. A new file
    that does not fit the instances that are proven already is held by itself.

    Parameters
    ----------
    context
        The study's project.
    ref
        The study's reference.

    Raises
    ------
    HeldError
        The checker refused, the files name several patients, the patient has no subject, no
        instance is left, or the study is one of the grid's own.
    RetryableError
        The service that knows the subjects does not answer.
    WorkFilesMissingError
        Staging has not all files that were retrieved.
    """
    folders = context.folders(ref)
    files = staged_files(folders.staging, context.ledger.studies.retrieved(ref))
    _check_original(context, ref, files)
    proven = proven_instances(context, ref)
    decided = context.ledger.reviews.of_study(ref)
    digests: dict[Path, str] = {}
    if decided or is_received(context, ref):
        digests = {path: sha256_of(path) for path in files}
    review = StudyRulings(
        {path: decided[sha] for path, sha in digests.items() if sha in decided},
        context.ledger.reviews.rules_in_force(context.project.name),
    )
    if proven is not None:
        files = [path for path in files if digests[path] not in proven.files]
    batch = _process(context, ref, files, proven, review)
    sync_directories([folders.outbox.parent])
    for outcome in batch.held:
        if outcome.refused:
            if outcome.code in BLANKABLE:  # a steward can blank what the checker read
                _hold_file(context, ref, outcome.source, outcome.error())
            raise outcome.error()
        _hold_file(context, ref, outcome.source, outcome.error())
    if not batch.made and proven is None:
        if batch.held:
            raise batch.held[0].error()
        raise HeldError("empty", "no file of this study was left to anonymise")
    _check_patient(context, batch.made)
    if batch.made:
        _record(context, ref, batch, digests)
    check_nothing_is_missing(context, ref)
    _record_rulings(context, ref, batch)
    context.ledger.reports.set(ref, _report(context, ref, batch, proven))
    log.info("%s: %d instances anonymised, %d held", ref, len(batch.made), len(batch.held))


def _check_original(context: ProjectContext, ref: str, files: Sequence[Path]) -> None:
    """Refuse a study that came out of the grid: its pseudonyms must not be replaced again.

    References to what is in the grid are no reason: they stay as they are.

    Raises
    ------
    HeldError
        ``own-pseudonym``.
    """
    identity = context.vault.open(ref, context.ledger.vault.sealed(ref))
    patients = {one.patient_id for one in read_patients(files[:1])} | {identity["patient_id"]}
    if context.ledger.issued_uids.subjects(context.project.name, patients - {""}):
        raise HeldError(
            "own-pseudonym",
            "PatientID (0010,0020) of this study is the pseudonym of a patient of this project: it "
            "came out of the grid, or was made of what did; let its sender send results through "
            "the gateway, or file it under the patient, and reject this",
        )
    uid = identity["study_uid"]
    if context.issued_uids.own([uid]):
        raise HeldError(
            "own-pseudonym",
            "this study came out of the grid under its pseudonyms, and references to them would be "
            "lost; let its sender send results through the gateway, and reject this",
        )


def _process(
    context: ProjectContext,
    ref: str,
    files: list[Path],
    proven: ProvenInstances | None,
    review: StudyRulings,
) -> ProcessedFiles:
    """Anonymise and check into an empty outbox; hold what conflicts with proven instances."""
    outbox = context.folders(ref).outbox
    subjects = _subjects(context, ref, files)
    while True:
        shutil.rmtree(outbox, ignore_errors=True)
        outbox.mkdir(parents=True, mode=0o700)
        with context.processing:
            batch = context.processor.process_study(files, outbox, subjects, review)
        if proven is None or any(outcome.refused for outcome in batch.held):
            return batch
        conflicts = {
            outcome.source: error
            for outcome in batch.outcomes
            if outcome.made and (error := proven.conflict_with(outcome.made))
        }
        if not conflicts:
            return batch
        for path, error in conflicts.items():
            _hold_file(context, ref, path, error)
        # Process the others again, so that neither outbox nor report has anything of these.
        files = [path for path in files if path not in conflicts]


def _subjects(
    context: ProjectContext, ref: str, files: list[Path]
) -> dict[str, AssignedSubject] | None:
    """Return the subjects of the files' patients, None if any patient's may be derived.

    Where somebody is asked about patients, a file whose patient was not read is not processed.

    Raises
    ------
    HeldError
        A patient has none or does not consent, or the files are of several patients.
    RetryableError
        Who knows the subjects, or who consents, does not answer.
    """
    if not (context.project.subjects.from_outside or context.consent.is_asked):
        return context.subjects.assign(())
    patients = read_patients(files)
    if len(patients) > 1:
        raise _mismatch()
    subjects = context.subjects.assign(patients)
    if subjects is None:
        derive = context.pseudonyms.subject
        subjects = {one.key: AssignedSubject(derive(one.key)) for one in patients}
    try:
        for one in patients:
            context.consent.check(one, subjects[one.key].subject)
    except HeldError:
        context.folders(ref).wipe()  # nothing is kept of who does not consent
        raise
    return subjects


def _mismatch() -> HeldError:
    return HeldError(
        "patient-mismatch",
        "the files of this study bear different PatientIDs (0010,0020), or one of "
        "different issuers (0010,0021); correct it at the source",
    )


def _check_patient(context: ProjectContext, made: Sequence[AnonymisedInstance]) -> None:
    """Check that the files, and the subject's other studies, are of one patient.

    Raises
    ------
    HeldError
        ``patient-mismatch`` or ``patient-conflict``.
    """
    if len({one.subject for one in made}) > 1:
        raise _mismatch()
    if not made or not context.profile.hold_patient_conflicts:
        return
    patient = merge_patient_prints(one.patient for one in made)
    if apart := context.ledger.patients.merge(context.project.name, made[0].subject, patient):
        raise patient_conflict(apart)


def _record(
    context: ProjectContext, ref: str, batch: ProcessedFiles, digests: Mapping[Path, str]
) -> None:
    """Enter instances into the ledger, and of a received study the files they came from."""
    context.ledger.studies.set_profile(ref, context.profile.hash)
    context.ledger.instances.add(ref, batch.made)
    context.issued_uids.enter_replaced(batch.references.replaced())
    context.ledger.received.add(
        ref,
        {
            digests[outcome.source]: outcome.made.sop_uid
            for outcome in batch.outcomes
            if outcome.made and digests
        }
        if is_received(context, ref)
        else {},
    )


def _report(
    context: ProjectContext, ref: str, batch: ProcessedFiles, proven: ProvenInstances | None
) -> bytes:
    """Return the de-identification report, joined with that of the proven instances."""
    held = [outcome.code for outcome in batch.held]
    first: AnonymisedInstance | InstanceRecord
    if proven is None:
        first = batch.made[0]
    else:
        first = next(iter(proven.rows.values()))
        held = [code for code, _ in context.ledger.held.of_study(ref)]
    review = _describe_rulings(context, batch)
    report = study_report(
        first.subject, first.study_uid, context.profile, batch.counts, held, review
    )
    if proven is None or proven.rows.keys() <= {made.sop_uid for made in batch.made}:
        return report
    return join_reports(context.ledger.reports.before_reopening(ref), report)


def _record_rulings(context: ProjectContext, ref: str, batch: ProcessedFiles) -> None:
    """Enter on which files stewards' decisions took effect."""
    context.ledger.reviews.add_uses(
        ref,
        [
            (number, sha256_of(outcome.source))
            for outcome in batch.outcomes
            for number in outcome.rulings
        ],
    )


def _describe_rulings(context: ProjectContext, batch: ProcessedFiles) -> list[dict[str, Any]]:
    """Return the decisions that took effect on results, as the study's report tells them."""
    files = Counter(number for one in batch.outcomes if one.made for number in one.rulings)
    if not files:
        return []
    return [
        {
            "decision": one.number,
            "verdict": one.verdict,
            "overruled": sorted(one.codes),
            "rule": one.always,
            "decided_by": one.who,
            "seconded_by": one.second or None,
            "decided_at": one.at.isoformat() if one.at else None,
            "regions": [region.as_json() for region in one.regions],
            "files": files[one.number],
        }
        for one in context.ledger.reviews.described(files)
    ]


def _hold_file(context: ProjectContext, ref: str, path: Path, error: HeldError) -> None:
    digest = context.folders(ref).quarantine_file(path)
    image = read_image(path, context.pseudonyms)
    context.ledger.held.add(ref, error.code, error.detail, digest, image)
    log.warning("%s: one file held, %s", ref, error.code)
