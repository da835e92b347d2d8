"""Retrieve a study from its source into staging."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from pacsgrid.errors import HeldError, NotWantedError
from pacsgrid.ledger.series_choices import NotWanted
from pacsgrid.model import FoundStudy, StagedFile
from pacsgrid.pacs import Source, query_check
from pacsgrid.pacs.header import StudyHeader, read_header
from pacsgrid.pacs.received_source import ReceivedSource
from pacsgrid.pacs.slice_header import SliceHeader, read_slice
from pacsgrid.pipeline import series_choice
from pacsgrid.pipeline.content_checks import check_content
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.received_cleanup import proven_instances
from pacsgrid.pipeline.staged_list import write_list

log = logging.getLogger(__name__)


def retrieve(context: ProjectContext, ref: str) -> None:
    """Retrieve a study into staging, complete by the source's own list of instances.

    Series that are not wanted are left at the source. What a PACS sends is compared with the query
    it answers; a study that does not match is held, and its files are removed. Then the content of
    its series is checked, as the project's settings say.

    Parameters
    ----------
    context
        The study's project.
    ref
        The study's reference.

    Raises
    ------
    HeldError
        The source has no instance of the study any more, or sent another study; the patient does
        not consent, or is not in the project's table of subjects; or a content check holds it.
    NotWantedError
        No series of the study is wanted.
    SourceError, SourceUnavailableError
        The source refused, or did not answer.
    RegisterUnavailableError
        The source of consent did not answer.
    """
    identity = context.vault.open(ref, context.ledger.vault.sealed(ref))
    source = context.source(identity["source"])
    proven = proven_instances(context, ref)
    again = proven is None and bool(context.ledger.versions.before(ref))
    if again and isinstance(source, ReceivedSource):
        source = source.with_originals()
    study = query_check.study_from_identity(identity)
    context.subjects.check_listed(study.patient_id)
    context.consent.check_listed(study.patient_id)
    staging = context.folders(ref).staging
    staging.mkdir(parents=True, exist_ok=True, mode=0o700)
    wanted = series_choice.wanted_series(context, ref)
    left: dict[str, NotWanted] = {}
    if wanted.limited:
        listed = series_choice.describe(source, study, wanted)
        left = series_choice.not_wanted(context, wanted, listed)
        if listed and len(left) == len(listed):
            _leave_all(context, ref, source, study, wanted, left)
    files = source.retrieve(study, staging, left.keys())
    if not files and proven is None:
        raise HeldError("empty", "the source lists no instance of this study any more")
    if context.site.source(identity["source"]).kind in ("dimse", "dicomweb"):
        _compare_with_query(context, ref, study, files, bool(left))
    headers: Sequence[SliceHeader] = ()
    if wanted.limited:
        more, headers, files = series_choice.drop_not_wanted(context, wanted, files)
        left |= more
        if left and not files and proven is None:
            _leave_all(context, ref, source, study, wanted, left)
    elif context.project.checks.any:
        headers = [read_slice(file.path) for file in files]
    if wanted.limited or context.ledger.series.of_studies([ref]):
        series_choice.record(context, ref, source, study, wanted, left)
    if context.project.checks.any and proven is None:
        check_content(context, ref, headers)
    context.ledger.studies.set_retrieved(ref, write_list(staging))
    log.info("%s: %d instances retrieved", ref, len(files))


def _compare_with_query(
    context: ProjectContext, ref: str, study: FoundStudy, files: Sequence[StagedFile], partly: bool
) -> None:
    headers = [read_header(file.path) for file in files]
    if partly and study.query is not None:
        # The series that has the queried modality may be one that is not wanted.
        study = replace(study, query=replace(study.query, modalities=()))
    reason = query_check.reason_not_asked_for(study, [one or StudyHeader() for one in headers])
    if reason:
        context.folders(ref).wipe()
        raise HeldError(query_check.NOT_ASKED_FOR, reason)


def _leave_all(
    context: ProjectContext,
    ref: str,
    source: Source,
    study: FoundStudy,
    wanted: series_choice.WantedSeries,
    left: dict[str, NotWanted],
) -> None:
    series_choice.record(context, ref, source, study, wanted, left)
    raise NotWantedError(f"none of the {len(left)} series of this study is wanted")
