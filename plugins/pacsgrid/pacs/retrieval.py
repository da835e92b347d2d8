"""What every retrieval does alike: list, bring what is missing, compare with the list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from pacsgrid.disk import sync_directory
from pacsgrid.errors import PacsgridError, SourceError, SourceUnavailable
from pacsgrid.model import FoundStudy, StagedFile, StudyQuery
from pacsgrid.pacs.staging import name_for, prepare


@dataclass(frozen=True)
class Instance:
    """One SOP instance of a source's list; ``classes`` are those it may be of."""

    series_uid: str
    sop_uid: str
    classes: tuple[str, ...] = ()


def single_values(query: StudyQuery) -> Iterator[tuple[str, str, str, str]]:
    """Give each (modality, patient ID, accession number, study UID) to ask for, "" for any.

    Many sources match single values only, whatever PS3.4 C.2.2.2 allows.
    """
    yield from product(
        query.modalities or ("",),
        query.patient_ids or ("",),
        query.accession_numbers or ("",),
        query.study_uids or ("",),
    )


def collect(found: dict[str, FoundStudy], study: FoundStudy, query: StudyQuery) -> None:
    """Enter an answer once, unless it is one that was not asked for."""
    asked = set(query.modalities)
    # ModalitiesInStudy is optional (PS3.4 C.6.2.1.2): some ignore the key.
    if asked and study.modalities and not asked & set(study.modalities):
        return
    # One without a UID is told too: it is for the steward, not to be dropped.
    found.setdefault(study.study_uid or f"patient {study.patient_id}", study)


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
    SourceUnavailable
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
        except SourceUnavailable as problem:
            error = problem
    sync_directory(into)
    rest = missing(listed, into)
    if rest:
        raise error or SourceUnavailable(
            f"source {name}: {len(rest)} of {len(listed)} instances did not arrive"
        )
    uids = sorted({one.sop_uid for one in listed})
    return [StagedFile(into / name_for(uid), uid) for uid in uids]
