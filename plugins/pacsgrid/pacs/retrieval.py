"""What every retrieval does alike: list, bring what is missing, compare with the list."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from pacsgrid.disk import sync_directory
from pacsgrid.errors import PacsgridError, SourceError, SourceUnavailableError, TooManyAnswersError
from pacsgrid.model import FoundStudy, StagedFile, StudyQuery
from pacsgrid.pacs.asked import Answer, compared, insist_on_single_values, joined
from pacsgrid.pacs.staging import name_for, prepare

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Instance:
    """One SOP instance of a source's list; ``classes`` are those it may be of."""

    series_uid: str
    sop_uid: str
    classes: tuple[str, ...] = ()


def single_values(query: StudyQuery) -> Iterator[StudyQuery]:
    """Split a query into such as name one value for each key at most.

    Many sources match single values only, whatever PS3.4 C.2.2.2 allows. Raises ConfigError where
    a value would match others too.
    """
    insist_on_single_values(query)
    for modality, patient, accession, uid in product(
        query.modalities or ("",),
        query.patient_ids or ("",),
        query.accession_numbers or ("",),
        query.study_uids or ("",),
    ):
        yield StudyQuery(
            query.date_from,
            query.date_to,
            (modality,) if modality else (),
            (patient,) if patient else (),
            (accession,) if accession else (),
            (uid,) if uid else (),
        )


def first(values: tuple[str, ...]) -> str:
    """Give the one value that a split query names, "" for any."""
    return values[0] if values else ""


class Answers:
    """A source's answers to a query: each study once, and none that was not asked for.

    Parameters
    ----------
    name
        The source's, for messages.
    most
        How many answers the source gives to one question at most, 0 for any number.
    """

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._most = most
        self._found: dict[str, FoundStudy] = {}
        self._total = self._unasked = 0

    def enter(self, question: StudyQuery, answers: Iterable[Answer]) -> None:
        """Enter the answers to one question.

        Raises
        ------
        TooManyAnswersError
            There are as many as the source gives at most: what was asked for may be missing.
        """
        count = 0
        for answer in answers:
            count += 1
            study = compared(answer, question)
            if study is None:
                self._unasked += 1
                continue
            # One without a UID is told too: it is for the steward, not to be dropped.
            key = study.study_uid or f"patient {study.patient_id}"
            known = self._found.get(key)
            self._found[key] = joined(known, study) if known else study
        self._total += count
        if self._most and count >= self._most:
            raise TooManyAnswersError(
                f"source {self._name}: gives no more than {self._most} answers "
                "(most_answers); ask for less at once"
            )

    def studies(self, has_modality: Callable[[FoundStudy], bool]) -> list[FoundStudy]:
        """Give the studies; `has_modality` asks for those whose answer tells no modality."""
        kept = []
        for study in self._found.values():
            asked = study.asked is not None and bool(study.asked.modalities)
            open_still = asked and bool(study.study_uid) and "modalities" not in study.told
            if open_still and not has_modality(study):
                self._unasked += 1
            else:
                kept.append(study)
        if self._unasked:
            log.warning(
                "source %s: %d of %d answers were not asked for, and are not taken; it passes "
                "over a matching key, or takes upper and lower case for the same",
                self._name,
                self._unasked,
                self._total,
            )
        return kept


def of_study(told: str, study: FoundStudy) -> bool:
    """Whether an answer at a lower level is of the study that was asked for, or does not say."""
    return told in ("", study.study_uid)


def missing(listed: list[Instance], into: Path) -> list[Instance]:
    """Give those of which no file is there."""
    return [one for one in listed if not (into / name_for(one.sop_uid)).exists()]


def bring(
    name: str,
    listed: list[Instance],
    into: Path,
    fetch: Callable[[list[Instance]], None],
) -> list[StagedFile]:
    """Call `fetch` with what is missing, once more for what did not come, and compare.

    Parameters
    ----------
    name
        The source's, for messages.
    listed
        What the source says the study holds.
    into
        A private directory; an instance's file there is whole.
    fetch
        Brings the given instances into `into`, as far as it can.

    Raises
    ------
    SourceError
        The source lists nothing, or refused for good.
    SourceUnavailableError
        Not everything came; what did is kept.
    """
    if not listed:
        raise SourceError(f"source {name}: lists no instance of the study")
    prepare(into)
    error: PacsgridError | None = None
    for _ in range(2):
        rest = missing(listed, into)
        if not rest:
            break
        try:
            fetch(rest)
            error = None
        except SourceUnavailableError as problem:
            error = problem
    sync_directory(into)
    rest = missing(listed, into)
    if rest:
        raise error or SourceUnavailableError(
            f"source {name}: {len(rest)} of {len(listed)} instances did not arrive"
        )
    uids = sorted({one.sop_uid for one in listed})
    return [StagedFile(into / name_for(uid), uid) for uid in uids]
