"""Which series of a study are taken: the project's selection, and what runs asked for.

A series that has instances in the ledger stays wanted, so that a study that is retrieved again is
whole. What is not wanted is recorded with the rule that says so, and counts as not wanted, never
as missing.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pacsgrid.config import SeriesSelection
from pacsgrid.disk import sha256_of
from pacsgrid.ledger.series_choices import NotWanted, SeriesChoice
from pacsgrid.model import FoundStudy, SeriesFacts, StagedFile
from pacsgrid.pacs import Source
from pacsgrid.pacs.received_source import ReceivedSource
from pacsgrid.pacs.series_selection import Decision, decide
from pacsgrid.pacs.slice_header import SliceHeader, facts_of, read_slice
from pacsgrid.pipeline.context import ProjectContext

log = logging.getLogger(__name__)

NO_RULES = SeriesSelection()


@dataclass(frozen=True)
class WantedSeries:
    """What is wanted of a study.

    Attributes
    ----------
    project
        The project's selection.
    asked
        The selections of runs, one of which must want a series; none for all.
    kept
        Pseudonymous UIDs of series that are in the ledger, and stay wanted.
    """

    project: SeriesSelection
    asked: tuple[SeriesSelection, ...] = ()
    kept: frozenset[str] = frozenset()

    @property
    def limited(self) -> bool:
        """Whether there is any rule."""
        return self.project != NO_RULES or bool(self.asked)

    @property
    def hash(self) -> str:
        """What identifies these selections; empty without any rule."""
        if not self.limited:
            return ""
        texts = [dump(self.project), *sorted(dump(one) for one in self.asked)]
        return hashlib.sha256("\n".join(texts).encode()).hexdigest()

    def decide(self, facts: SeriesFacts) -> Decision:
        """Return whether a series is wanted; a kept one is not looked at here."""
        own = decide([("", self.project)], facts)
        if own.wanted is False or not self.asked:
            return own
        others = [decide([("run's ", one)], facts) for one in self.asked]
        if any(one.wanted for one in others):
            return own
        if any(one.wanted is None for one in others):
            return Decision(None)
        return others[0]


def dump(selection: SeriesSelection) -> str:
    """Return a selection as JSON, the same for equal selections."""
    return json.dumps(selection.model_dump(exclude_defaults=True), sort_keys=True)


def load(text: str) -> SeriesSelection:
    """Return the selection that `dump` made a text of."""
    return SeriesSelection.model_validate(json.loads(text))


def wanted_series(
    context: ProjectContext, ref: str, choice: SeriesChoice | None = None
) -> WantedSeries:
    """Return what is wanted of a study.

    Parameters
    ----------
    context
        The study's project.
    ref
        The study's reference.
    choice
        What the ledger has of it; None looks it up.
    """
    store = context.ledger.series
    if choice is None:
        choice = store.of_studies([ref]).get(ref, SeriesChoice())
    wanted = WantedSeries(context.project.series, tuple(load(one) for one in choice.asked))
    return replace(wanted, kept=frozenset(store.series_of(ref))) if wanted.limited else wanted


def merge_asked(
    before: Sequence[str] | None, selection: SeriesSelection, finished: bool
) -> tuple[str, ...]:
    """Return what is asked for of a study that another run finds.

    Parameters
    ----------
    before
        What runs asked for before; None for a study that is new.
    selection
        The selection of the run that finds it.
    finished
        Whether what was asked for before was done. Otherwise both runs are served.
    """
    new = (dump(selection),) if selection != NO_RULES else ()
    if before is None or finished:
        return new
    if not before or not new:  # one of the runs wants all that the project wants
        return ()
    return tuple(dict.fromkeys((*before, *new)))


def describe(source: Source, study: FoundStudy, wanted: WantedSeries) -> list[SeriesFacts]:
    """Return what a source says of each series; where that is not enough, also of its instances.

    It is not enough if it leaves open whether a series is wanted, or how many instances one has
    that is not.

    Parameters
    ----------
    source
        The source.
    study
        The study.
    wanted
        What is wanted of it.
    """
    facts = []
    for one in source.list_series(study):
        decision = wanted.decide(one).wanted
        enough = decision is True or (decision is False and one.instances is not None)
        facts.append(one if enough else source.describe_series(study, one))
    return facts


def not_wanted(
    context: ProjectContext, wanted: WantedSeries, facts: Iterable[SeriesFacts]
) -> dict[str, NotWanted]:
    """Return the series that are certainly not wanted, by their original UID.

    Parameters
    ----------
    context
        The study's project.
    wanted
        What is wanted of the study.
    facts
        What is known of its series.
    """
    left: dict[str, NotWanted] = {}
    for one in facts:
        pseudonym = context.pseudonyms.uid(one.uid)
        if pseudonym in wanted.kept:
            continue
        decision = wanted.decide(one)
        if decision.wanted is False:
            left[one.uid] = NotWanted(
                pseudonym, (one.modality or "")[:16], one.instances or 0, decision.rule
            )
    return left


def drop_not_wanted(
    context: ProjectContext, wanted: WantedSeries, files: Sequence[StagedFile]
) -> tuple[dict[str, NotWanted], list[SliceHeader], list[StagedFile]]:
    """Remove retrieved files of series that their headers show not to be wanted.

    Parameters
    ----------
    context
        The study's project.
    wanted
        What is wanted of the study.
    files
        Its retrieved files.

    Returns
    -------
    tuple
        What is not wanted, and the headers and files of what stays.
    """
    headers = [read_slice(file.path) for file in files]
    left = not_wanted(context, wanted, facts_of(headers).values())
    kept, staying = [], []
    for header, file in zip(headers, files, strict=True):
        if header.series_uid in left:
            file.path.unlink(missing_ok=True)
        else:
            kept.append(header)
            staying.append(file)
    return left, kept, staying


def record(
    context: ProjectContext,
    ref: str,
    source: Source,
    study: FoundStudy,
    wanted: WantedSeries,
    left: dict[str, NotWanted],
) -> None:
    """Record what of a study was left at its source, and by which rules.

    Parameters
    ----------
    context
        The study's project.
    ref
        The study's reference.
    source
        Where it came from; a receiver's folder is told which files need not be kept.
    study
        The study.
    wanted
        What was wanted.
    left
        The series that were not wanted, by original UID.
    """
    files = []
    if isinstance(source, ReceivedSource) and left:
        files = [
            sha256_of(path) for path in source.files(study) if read_slice(path).series_uid in left
        ]
    context.ledger.series.record(ref, context.project.name, wanted.hash, list(left.values()), files)
    if left:
        log.info(
            "%s: %d series with %d instances are not wanted",
            ref,
            len(left),
            sum(one.instances for one in left.values()),
        )


def wants_more(
    context: ProjectContext, source: Source, study: FoundStudy, ref: str, choice: SeriesChoice
) -> bool:
    """Return whether other selections than before want something of a study that was left.

    The source is asked only if the selections are not those of the last time.

    Parameters
    ----------
    context
        The study's project.
    source
        Where it is.
    study
        The study.
    ref
        Its reference.
    choice
        What is asked for of it now, and by which selections it was looked through.
    """
    wanted = wanted_series(context, ref, choice)
    if wanted.hash == choice.applied:
        return False
    listed = describe(source, study, wanted)
    left = not_wanted(context, wanted, listed)
    taken = {context.pseudonyms.uid(one.uid) for one in listed if one.uid not in left}
    if taken - (wanted.kept or context.ledger.series.series_of(ref)):
        return True
    context.ledger.series.set_applied(ref, wanted.hash)
    return False
