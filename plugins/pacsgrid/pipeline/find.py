"""Find: ask a source for studies, enter them into the ledger, return opaque references."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pydicom

from pacsgrid.config import SeriesSelection
from pacsgrid.deid.quarantine import displayable_path
from pacsgrid.deid.regularise import regularise
from pacsgrid.disk import sha256_of
from pacsgrid.errors import HeldError, TooManyAnswersError
from pacsgrid.ledger import PendingStudy
from pacsgrid.ledger.series_choices import SeriesChoice
from pacsgrid.model import FoundStudy, StudyQuery, StudyState
from pacsgrid.pacs import Source, query_check
from pacsgrid.pacs.received_source import ReceivedSource
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.received_cleanup import reopen_if_new
from pacsgrid.pipeline.series_choice import NO_RULES, merge_asked, wants_more

log = logging.getLogger(__name__)

# How many studies are entered in one transaction.
_AT_ONCE = 500
_OPEN = frozenset({StudyState.FOUND, StudyState.HELD})
FINISHED = frozenset(
    {
        StudyState.VERIFIED,
        StudyState.HELD,
        StudyState.WITHDRAWN,
        StudyState.NOT_WANTED,
        StudyState.SUPERSEDED,
    }
)
_DONE = frozenset({StudyState.VERIFIED, StudyState.NOT_WANTED})


def enter_studies(
    context: ProjectContext,
    source_name: str,
    query: StudyQuery,
    most_answers: int = 0,
    series: SeriesSelection = NO_RULES,
) -> Iterator[list[PendingStudy]]:
    """Ask a source for studies, enter them into the ledger, and yield those to be processed.

    The answers are entered as they come, some hundred in one transaction. A study that is finished
    is not taken again, unless the source now holds more instances than the ledger, or a receiver's
    folder holds a new file, or series are wanted now that were left there: then the study is
    reopened. Files of a drop folder that belong to no
    study are held, each with its reason.

    A study that the query did not ask for is held when it comes, whatever the source answers. It
    goes on when another query asks for it.

    Parameters
    ----------
    context
        The project.
    source_name
        The source's name in the site settings.
    query
        What to ask for.
    most_answers
        How many answers mean that there may be more (0 for no limit).
    series
        Which series are asked for, of those that the project wants.

    Yields
    ------
    list of PendingStudy
        Some of the studies.

    Raises
    ------
    ConfigError
        There is no such source, or the query would match more than it names.
    SourceError, SourceUnavailableError
        The source refused, or did not answer.
    TooManyAnswersError
        It gave `most_answers` or more. What it gave may have been entered.
    """
    query_check.check_single_values(query)
    source = context.source(source_name)
    answers = iter(source.find_studies(query))
    count = todo = finished = 0
    while some := list(islice(answers, _AT_ONCE)):
        count += len(some)
        with source.keep_open():
            pending = _enter_some(context, source, source_name, some, series)
        todo += len(pending)
        finished += len(some) - len(pending)
        yield pending
    if most_answers and count >= most_answers:
        raise TooManyAnswersError(
            f"source {source_name}: gives no more than {most_answers} answers"
        )
    for path in source.strays():
        _hold_stray(context, source_name, path)
    log.info("found %d studies to process; %d are finished or held", todo, finished)


def find_studies(
    context: ProjectContext, source_name: str, query: StudyQuery, most_answers: int = 0
) -> list[str]:
    """Return the references of all studies that `enter_studies` yields.

    Parameters
    ----------
    context, source_name, query, most_answers
        As for `enter_studies`, whose errors are raised too.
    """
    entered = enter_studies(context, source_name, query, most_answers)
    return [study.ref for some in entered for study in some]


@dataclass(frozen=True)
class IngestPreview:
    """What an ingest would take.

    Attributes
    ----------
    studies
        How many studies the source answers with.
    new
        Those that the ledger does not know.
    finished
        Those that are verified, held or withdrawn.
    instances
        How many instances the source says they have; 0 when it does not say.
    """

    studies: int = 0
    new: int = 0
    finished: int = 0
    instances: int = 0


def preview_ingest(
    context: ProjectContext, source_name: str, queries: Sequence[StudyQuery]
) -> IngestPreview:
    """Count what `find_studies` would take, without entering anything.

    Parameters
    ----------
    context
        The project.
    source_name
        The source's name in the site settings.
    queries
        What to ask for; a study that several of them find counts once.

    Returns
    -------
    IngestPreview
        The counts.

    Raises
    ------
    ConfigError, SourceError, SourceUnavailableError
        As in `find_studies`.
    """
    for query in queries:
        query_check.check_single_values(query)
    source = context.source(source_name)
    seen: set[str] = set()
    new = finished = instances = 0
    for query in queries:
        answers = iter(source.find_studies(query))
        while some := list(islice(answers, _AT_ONCE)):
            refs = {
                context.pseudonyms.reference(source_name, study.study_uid): study
                for study in some
                if study.study_uid
            }
            known = context.ledger.studies.states(list(refs))
            for ref in refs.keys() - seen:
                instances += refs[ref].instances or 0
                new += ref not in known
                finished += known.get(ref) in FINISHED
            seen |= refs.keys()
    return IngestPreview(len(seen), new, finished, instances)


def _enter_some(
    context: ProjectContext,
    source: Source,
    source_name: str,
    some: Sequence[FoundStudy],
    series: SeriesSelection,
) -> list[PendingStudy]:
    """Enter studies in one transaction, reopen those that changed; return those to process."""
    found: dict[str, FoundStudy] = {}
    for study in some:
        if study.study_uid:
            found[context.pseudonyms.reference(source_name, study.study_uid)] = study
        else:
            _hold_without_uid(context, source_name, study.patient_id)
    identities = {ref: _identity(source_name, study) for ref, study in found.items()}
    current = context.ledger.versions.current(list(found))
    refs = [current.get(first, (first, False))[0] for first in found]
    before = context.ledger.studies.states(refs)
    choices = _ask_for_series(context, refs, before, series)
    states = context.ledger.studies.add_many_found(
        context.project.name,
        source_name,
        context.profile.hash,
        {ref: context.vault.seal(ref, identity) for ref, identity in identities.items()},
    )
    states = before | states
    _store_choices(context, choices)
    # A version that is on its way takes what is new at the source along.
    done = [
        ref
        for ref, newer in (current.get(one, (one, False)) for one in found)
        if states[ref] in _DONE and not newer
    ]
    files = context.ledger.studies.count_files_of(done) if done else {}
    left = context.ledger.series.count_instances_of(done) if done else {}
    pending = []
    for first, study in found.items():
        ref, _ = current.get(first, (first, False))
        state = states[ref]
        doubtful = state is StudyState.HELD or query_check.is_unconfirmed(study)
        if state in _OPEN and doubtful and _record_query(context, ref, identities[first]):
            state = StudyState.FOUND
        pushed = isinstance(source, ReceivedSource)
        if ref in left and not pushed and wants_more(context, source, study, ref, choices[ref][1]):
            log.info("%s: more series are wanted, the study is reopened", ref)
            context.ledger.studies.reopen(ref)
            state = StudyState.FOUND
        elif ref in files and _reopen_if_grown(
            context, source, study, ref, files[ref] + left.get(ref, 0)
        ):
            log.info("%s: the source has new instances, the study is reopened", ref)
            state = StudyState.FOUND
        if state not in FINISHED:
            day = context.pseudonyms.order_of_date(study.date)
            pending.append(PendingStudy(ref, day, study.instances, study.size))
    return pending


def _ask_for_series(
    context: ProjectContext,
    refs: Sequence[str],
    before: Mapping[str, StudyState],
    series: SeriesSelection,
) -> dict[str, tuple[bool, SeriesChoice]]:
    """Return what is asked for of each study now, and whether that has to be stored."""
    known = context.ledger.series.of_studies(refs)
    choices = {}
    for ref in refs:
        old = known.get(ref)
        asked = None if ref not in before else old.asked if old else ()
        choice = SeriesChoice(
            merge_asked(asked, series, before.get(ref) in _DONE), old.applied if old else ""
        )
        choices[ref] = (choice.asked != (old.asked if old else ()), choice)
    return choices


def _store_choices(
    context: ProjectContext, choices: Mapping[str, tuple[bool, SeriesChoice]]
) -> None:
    context.ledger.series.ask(
        {ref: choice.asked for ref, (changed, choice) in choices.items() if changed}
    )


def _identity(source_name: str, study: FoundStudy) -> dict[str, str]:
    accession = study.accession.strip("\0 ")
    return {
        "study_uid": study.study_uid,
        "patient_id": study.patient_id,
        **({"accession": accession} if accession else {}),
        "source": source_name,
        **query_check.query_to_identity(study),
    }


def _enter(
    context: ProjectContext, source_name: str, ref: str, identity: Mapping[str, str]
) -> StudyState:
    return context.ledger.studies.add_found(
        ref,
        context.project.name,
        source_name,
        context.profile.hash,
        context.vault.seal(ref, identity),
    )


def _reopen_if_grown(
    context: ProjectContext, source: Source, study: FoundStudy, ref: str, files: int
) -> bool:
    """Reopen a verified study of `files` files if it has grown at its source; return whether."""
    if isinstance(source, ReceivedSource):
        return reopen_if_new(context, source, study, ref)
    if _count_instances(source, study) <= files:
        return False
    context.ledger.studies.reopen(ref)
    return True


def _count_instances(source: Source, study: FoundStudy) -> int:
    """Return how many instances the source has; list them if it does not say."""
    return len(source.list_instances(study)) if study.instances is None else study.instances


def _record_query(context: ProjectContext, ref: str, identity: dict[str, str]) -> bool:
    """Record another query that a study answers as well as the one before.

    A study that was held because no query had asked for it goes on. Return whether the query was
    recorded.
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
            log.info("%s: another query asks for the study, it goes on", ref)
    return True


def _hold_entry(
    context: ProjectContext,
    source_name: str,
    key: str,
    identity: Mapping[str, str],
    code: str,
    detail: str,
) -> None:
    """Hold something of a source that is not a study, unless it is held already.

    `key` tells it from other entries of the source.
    """
    ref = context.pseudonyms.reference(source_name, key)
    if _enter(context, source_name, ref, {"study_uid": "", "patient_id": "", **identity}) is (
        StudyState.HELD
    ):
        return
    context.ledger.studies.hold(ref, code, detail)
    log.warning("%s: held, %s", ref, code)


def _hold_without_uid(context: ProjectContext, source_name: str, patient_id: str) -> None:
    if context.site.source(source_name).kind == "folder":
        return  # its files come one by one, as strays
    detail = "the source lists a study without a valid StudyInstanceUID; correct it there"
    identity = {"patient_id": patient_id}
    key = f"nameless:{patient_id}"
    _hold_entry(context, source_name, key, identity, "no-study-uid", detail)


def _hold_stray(context: ProjectContext, source_name: str, path: Path) -> None:
    """Hold a file of a drop folder that belongs to no study, with a copy in the quarantine."""
    identity = {"study_uid": "", "patient_id": "", "file": displayable_path(Path(path.name))}
    try:
        digest = sha256_of(path)
    except OSError as error:
        why = error.strerror or type(error).__name__
        detail = f"a file of the folder cannot be read: {why}; let this account read it"
        key = f"unreadable:{identity['file']}"
        _hold_entry(context, source_name, key, identity, "unreadable-file", detail)
        return
    ref = context.pseudonyms.reference(source_name, f"stray:{digest}")
    if _enter(context, source_name, ref, identity) is StudyState.HELD:
        return
    context.folders(ref).quarantine_file(path)
    code, detail = _why_stray(path)
    context.ledger.studies.hold(ref, code, detail, digest)
    log.warning("%s: held, %s", ref, code)


def _why_stray(path: Path) -> tuple[str, str]:
    """Return code and text of why a file belongs to no study."""
    try:
        pydicom.dcmread(path, stop_before_pixels=True)
    except Exception:
        try:
            with path.open("rb") as stream:
                regularise(stream)
        except HeldError as error:
            return error.code, error.detail
    return "no-study-uid", "the file has no StudyInstanceUID (0020,000D); correct it at its origin"
