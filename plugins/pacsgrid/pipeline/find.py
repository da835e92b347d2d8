"""Find: ask a source, write what it has into the ledger, hand out opaque references."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom

from pacsgrid.deid.quarantine import displayable_path
from pacsgrid.deid.regularise import regularise
from pacsgrid.disk import sha256_of
from pacsgrid.errors import HeldError, TooManyAnswersError
from pacsgrid.model import FoundStudy, StudyQuery, StudyState
from pacsgrid.pacs import Source, open_source, query_check
from pacsgrid.pacs.received_source import ReceivedSource
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.received_cleanup import reopen_if_new

log = logging.getLogger(__name__)

_OPEN = frozenset({StudyState.FOUND, StudyState.HELD})
FINISHED = frozenset({StudyState.VERIFIED, StudyState.HELD, StudyState.WITHDRAWN})


def find_studies(
    context: ProjectContext, source_name: str, query: StudyQuery, most_answers: int = 0
) -> list[str]:
    """Ask a source for studies and return the references of those that still have a way to go.

    A study known and finished is not taken again, unless the source now holds more instances
    than the ledger, or a receiver's folder a file that is not known: then it is reopened. Files
    of a drop folder that belong to no study are held, each with its reason.

    What was not asked for is not taken, whatever a source answers; held for that reason, a study
    goes on its way again when another question asks for it.

    Raises
    ------
    ConfigError
        No such source, or the query would match more than it names.
    SourceError, SourceUnavailableError
        The source refused, or did not answer.
    TooManyAnswersError
        It gave `most_answers` or more (0 for no limit), so there may be others; nothing was
        entered.
    """
    query_check.check_single_values(query)
    source = open_source(context.site.source(source_name))
    answers = list(source.find_studies(query))
    if most_answers and len(answers) >= most_answers:
        raise TooManyAnswersError(
            f"source {source_name}: gives no more than {most_answers} answers"
        )
    todo: list[str] = []
    known = 0
    for study in answers:
        if not study.study_uid:
            _hold_nameless(context, source_name, study.patient_id)
            continue
        ref = context.pseudonyms.reference(source_name, study.study_uid)
        identity = {
            "study_uid": study.study_uid,
            "patient_id": study.patient_id,
            "source": source_name,
            **query_check.query_to_identity(study),
        }
        state = _enter(context, source_name, ref, identity)
        doubtful = state is StudyState.HELD or query_check.is_unconfirmed(study)
        if state in _OPEN and doubtful and _asked_anew(context, ref, identity):
            state = StudyState.FOUND
        if state is StudyState.VERIFIED and _taken_up(context, source, study, ref):
            log.info("%s: the source has new instances, taking it up again", ref)
            state = StudyState.FOUND
        if state in FINISHED:
            known += 1
        else:
            todo.append(ref)
    for path in source.strays():
        _hold_stray(context, source_name, path)
    log.info("found %d studies to take; %d are settled or held already", len(todo), known)
    return todo


@dataclass(frozen=True)
class IngestPreview:
    """What an ingest would take; `instances` is what the source tells, 0 when it does not."""

    studies: int = 0
    new: int = 0
    finished: int = 0
    instances: int = 0


def preview_ingest(
    context: ProjectContext, source_name: str, queries: Sequence[StudyQuery]
) -> IngestPreview:
    """Tell what `find_studies` would take, and enter nothing. Raises as it does."""
    for query in queries:
        query_check.check_single_values(query)
    source = open_source(context.site.source(source_name))
    known = {study.ref: study.state for study in context.ledger.studies.find(context.project.name)}
    seen: set[str] = set()
    new = finished = instances = 0
    for query in queries:
        for study in source.find_studies(query):
            ref = context.pseudonyms.reference(source_name, study.study_uid)
            if not study.study_uid or ref in seen:
                continue
            seen.add(ref)
            instances += study.instances or 0
            new += ref not in known
            finished += known.get(ref) in FINISHED
    return IngestPreview(len(seen), new, finished, instances)


def _taken_up(context: ProjectContext, source: Source, study: FoundStudy, ref: str) -> bool:
    """Reopen a verified study that grew at its source; returns whether."""
    if isinstance(source, ReceivedSource):
        return reopen_if_new(context, source, study, ref)
    if _count(source, study) <= context.ledger.studies.count_files(ref):
        return False
    context.ledger.studies.reopen(ref)
    return True


def _asked_anew(context: ProjectContext, ref: str, identity: dict[str, str]) -> bool:
    """Note another question that a study answers as well as the one before; returns whether.

    A study that was held because nobody had asked for it is released.
    """
    held = context.ledger.studies.held_code(ref)
    if held not in ("", query_check.NOT_ASKED_FOR):
        return False
    before = context.vault.open(ref, context.ledger.vault.sealed(ref))
    if not query_check.replaces_query(identity, before):
        return False
    with context.ledger.studies.lock(ref) as ours:
        if not ours or context.ledger.studies.held_code(ref) != held:
            return False
        context.ledger.vault.replace(ref, context.vault.seal(ref, {**before, **identity}))
        if held:
            context.ledger.studies.unhold(ref)
            log.info("%s: asked for by another question, taking it up again", ref)
    return True


def _count(source: Source, study: FoundStudy) -> int:
    """Give how many instances the source has, listed where it does not tell."""
    return len(source.list_instances(study)) if study.instances is None else study.instances


def _enter(
    context: ProjectContext, source_name: str, ref: str, identity: dict[str, str]
) -> StudyState:
    return context.ledger.studies.add_found(
        ref,
        context.project.name,
        source_name,
        context.profile.hash,
        context.vault.seal(ref, identity),
    )


def _hold_stray(context: ProjectContext, source_name: str, path: Path) -> None:
    identity = {"study_uid": "", "patient_id": "", "file": displayable_path(Path(path.name))}
    try:
        digest = sha256_of(path)
    except OSError as error:
        _hold_unreadable(context, source_name, identity, error)
        return
    ref = context.pseudonyms.reference(source_name, f"stray:{digest}")
    if _enter(context, source_name, ref, identity) is StudyState.HELD:
        return
    context.folders(ref).quarantine_file(path)
    code, detail = _why_stray(path)
    context.ledger.studies.hold(ref, code, detail, digest)
    log.warning("%s: held, %s", ref, code)


def _hold_nameless(context: ProjectContext, source_name: str, patient_id: str) -> None:
    if context.site.source(source_name).kind == "folder":
        return  # its files come one by one, as strays
    ref = context.pseudonyms.reference(source_name, f"nameless:{patient_id}")
    identity = {"study_uid": "", "patient_id": patient_id}
    if _enter(context, source_name, ref, identity) is not StudyState.HELD:
        detail = "the source lists a study without a valid StudyInstanceUID; correct it there"
        context.ledger.studies.hold(ref, "no-study-uid", detail)


def _hold_unreadable(
    context: ProjectContext, source_name: str, identity: dict[str, str], error: OSError
) -> None:
    ref = context.pseudonyms.reference(source_name, f"unreadable:{identity['file']}")
    if _enter(context, source_name, ref, identity) is not StudyState.HELD:
        why = error.strerror or type(error).__name__
        detail = f"a file of the folder cannot be read: {why}; let this account read it"
        context.ledger.studies.hold(ref, "unreadable-file", detail)
        log.warning("%s: held, unreadable-file", ref)


def _why_stray(path: Path) -> tuple[str, str]:
    """Say why a file is of no study: it names none, or what is wrong with it as DICOM."""
    try:
        pydicom.dcmread(path, stop_before_pixels=True)
    except Exception:
        try:
            with path.open("rb") as stream:
                regularise(stream)
        except HeldError as error:
            return error.code, error.detail
    return "no-study-uid", "the file has no StudyInstanceUID (0020,000D); correct it at its origin"
