"""Steps that every retrieval from a PACS shares: list, fetch what is missing, compare."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from pacsgrid.disk import sync_directory
from pacsgrid.errors import PacsgridError, SourceError, SourceUnavailableError
from pacsgrid.model import FoundStudy, StagedFile, StudyQuery
from pacsgrid.pacs.query_check import check_single_values
from pacsgrid.pacs.staging import name_for, prepare


@dataclass(frozen=True)
class ListedInstance:
    """One SOP instance of a source's list.

    Attributes
    ----------
    classes
        UIDs of the SOP classes that it may be of.
    """

    series_uid: str
    sop_uid: str
    classes: tuple[str, ...] = ()


def split_query(query: StudyQuery) -> Iterator[StudyQuery]:
    """Split a query into queries that name one value for each key at most.

    Many sources match single values only, whatever PS3.4 section C.2.2.2 allows.

    Raises
    ------
    ConfigError
        A value would match others too.
    """
    check_single_values(query)
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


def single_keys(query: StudyQuery) -> dict[str, str]:
    """Return the matching keys of a split query by keyword; "" matches any value."""
    dates = (query.date_from, query.date_to)
    return {
        "StudyDate": "-".join(dates) if any(dates) else "",
        "ModalitiesInStudy": "".join(query.modalities),
        "PatientID": "".join(query.patient_ids),
        "AccessionNumber": "".join(query.accession_numbers),
        "StudyInstanceUID": "".join(query.study_uids),
    }


def is_of_study(told: str, study: FoundStudy) -> bool:
    """Return whether an answer at a lower level is of the study.

    Parameters
    ----------
    told
        The answer's StudyInstanceUID; an empty one counts as the study's.
    study
        The study that was queried.
    """
    return told in ("", study.study_uid)


def series_sizes(listed: Iterable[ListedInstance]) -> dict[str, int]:
    """Count the listed instances of each series, by SeriesInstanceUID."""
    sizes: dict[str, int] = {}
    for one in listed:
        sizes[one.series_uid] = sizes.get(one.series_uid, 0) + 1
    return sizes


def uids_by_series(instances: Iterable[ListedInstance]) -> dict[str, list[str]]:
    """Group SOP Instance UIDs by SeriesInstanceUID."""
    groups: dict[str, list[str]] = {}
    for one in instances:
        groups.setdefault(one.series_uid, []).append(one.sop_uid)
    return groups


def remove_unlisted(into: Path, listed: Iterable[ListedInstance]) -> None:
    """Remove files that are not to be retrieved: the next step takes everything that is there.

    Parameters
    ----------
    into
        Where the instances are retrieved to.
    listed
        The instances that are to be retrieved.
    """
    names = {name_for(one.sop_uid) for one in listed}
    for path in into.glob("*.dcm"):
        if path.name not in names:
            path.unlink()


def missing(listed: list[ListedInstance], into: Path) -> list[ListedInstance]:
    """Return the instances that have not arrived yet.

    Parameters
    ----------
    listed
        The instances of a study, as its source lists them.
    into
        Where they are retrieved to.
    """
    return [one for one in listed if not (into / name_for(one.sop_uid)).exists()]


def fetch_all(
    name: str,
    listed: list[ListedInstance],
    into: Path,
    fetch: Callable[[list[ListedInstance]], None],
) -> list[StagedFile]:
    """Call `fetch` for what is missing, once more for what did not arrive, and compare.

    Parameters
    ----------
    name
        The source's name, for messages.
    listed
        The instances of the study, as the source lists them.
    into
        A private directory; each file in it is complete.
    fetch
        Fetches the given instances into `into`, as far as it can.

    Returns
    -------
    list of StagedFile
        The files, one for each listed instance.

    Raises
    ------
    SourceError
        The source lists nothing, or refused for good.
    SourceUnavailableError
        Not everything arrived; what did is kept.
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
