"""Cohorts: choose series by query or list, count them, and see which patients stand out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from pacsgrid.cohort_query import parse_all
from pacsgrid.config.projects import ReleaseGate
from pacsgrid.errors import ConfigError
from pacsgrid.ledger import InstanceRecord
from pacsgrid.ledger.cohort_index import Cell, CohortIndex, Selection
from pacsgrid.pipeline.context import ProjectContext

Members = Mapping[str, list[InstanceRecord]]
SmallCells = Literal["refuse", "drop", "keep"]


@dataclass(frozen=True)
class Cohort:
    """What a cohort is made of: a query, a list, or both.

    Attributes
    ----------
    criteria
        Cohort queries, every one of which a series must match.
    members
        Pseudonyms of patients, and UIDs of studies, whose studies belong to it as well.
    excluded
        UIDs of series that are left out.
    matching
        Whether it has the matching series only, and not the whole studies of them.
    small_cells
        What becomes of studies in cells with fewer patients than the project's release gate asks
        for: ``refuse`` the release, ``drop`` them or ``keep`` them.
    """

    criteria: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    excluded: frozenset[str] = frozenset()
    matching: bool = False
    small_cells: SmallCells = "refuse"

    @property
    def names_nothing(self) -> bool:
        """Whether it has neither criteria nor members."""
        return not (any(text.strip() for text in self.criteria) or self.members)


@dataclass(frozen=True)
class CohortSummary:
    """What a cohort holds.

    Attributes
    ----------
    subjects, studies, instances, bytes
        How many there are.
    modalities
        Instances by modality.
    """

    subjects: int = 0
    studies: int = 0
    instances: int = 0
    bytes: int = 0
    modalities: Mapping[str, int] = field(default_factory=dict)


def with_saved(context: ProjectContext, cohort: Cohort, name: str) -> Cohort:
    """Return a cohort that adds to a saved one.

    Parameters
    ----------
    context
        The project.
    cohort
        Further criteria, members and exclusions.
    name
        The saved cohort's name; empty for none.

    Returns
    -------
    Cohort
        Both together.

    Raises
    ------
    ConfigError
        The project has no saved cohort of this name.
    """
    if not name:
        return cohort
    saved = context.ledger.saved_cohorts.get(context.project.name, name)
    return replace(
        cohort,
        criteria=(*saved.criteria, *cohort.criteria),
        excluded=cohort.excluded | set(saved.excluded),
        matching=cohort.matching or saved.matching,
    )


def chosen_series(context: ProjectContext, cohort: Cohort) -> dict[str, set[str]]:
    """Return the series of a cohort that are verified.

    Parameters
    ----------
    context
        The project.
    cohort
        What is chosen.

    Returns
    -------
    dict
        UIDs of series by the references of their studies.

    Raises
    ------
    ConfigError
        Nothing says what to choose, or a criterion cannot be understood.
    """
    if cohort.names_nothing:
        raise ConfigError("a cohort needs criteria, subjects or study UIDs")
    ledger, project = context.ledger, context.project.name
    found: dict[str, set[str]] = {}
    if query := parse_all(cohort.criteria):
        found = ledger.cohorts.series_of(Selection(project, query, cohort.excluded))
    listed = ledger.instances.refs_of(project, cohort.members, cohort.members)
    whole = listed if cohort.matching else [*found, *listed, *ledger.results.released_of(found)]
    for ref, series in sorted(ledger.instances.series_of(whole)):
        if series not in cohort.excluded:
            found.setdefault(ref, set()).add(series)
    return found


def select_cohort(context: ProjectContext, cohort: Cohort) -> dict[str, list[InstanceRecord]]:
    """Return the instances of a cohort, without the small cells that it drops.

    Where the project asks for consent, it is asked now, and subjects without consent are left out;
    `ConsentGate.left_out` says how many.

    Parameters
    ----------
    context
        The project.
    cohort
        What is chosen.

    Returns
    -------
    dict
        The instances of each verified study, by its reference.

    Raises
    ------
    ConfigError
        Nothing says what to choose, a criterion cannot be understood, or studies are in small
        cells and the cohort does not say what becomes of them.
    RegisterUnavailableError
        The source of consent does not answer.
    """
    chosen = _consented(context, chosen_series(context, cohort))
    if cohort.small_cells != "keep":
        small = small_cells_of(context, chosen)
        if small and cohort.small_cells == "refuse":
            raise ConfigError(describe_cells(context, small))
        for cell in small:
            for ref in cell.refs:
                chosen.pop(ref, None)
    members = context.ledger.instances.of_verified_studies(list(chosen))
    return {
        ref: mine
        for ref, rows in members.items()
        if (mine := [row for row in rows if row.series_uid in chosen[ref]])
    }


def _consented(context: ProjectContext, chosen: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return the chosen series without those of subjects that do not consent."""
    subjects = context.ledger.instances.subjects_of(list(chosen))
    allowed = context.consent.releasable(subjects.values())
    return {ref: series for ref, series in chosen.items() if subjects.get(ref) in allowed}


def count_cohort(context: ProjectContext, cohort: Cohort) -> CohortSummary:
    """Count what a cohort holds, small cells included, without listing its instances.

    Parameters
    ----------
    context
        The project.
    cohort
        What is chosen.

    Returns
    -------
    CohortSummary
        The counts.

    Raises
    ------
    ConfigError
        Nothing says what to choose, or a criterion cannot be understood.
    """
    return count_chosen(context, chosen_series(context, cohort))


def count_chosen(context: ProjectContext, chosen: Mapping[str, set[str]]) -> CohortSummary:
    """Count what series hold, without listing their instances.

    Parameters
    ----------
    context
        The project.
    chosen
        What `chosen_series` returned.

    Returns
    -------
    CohortSummary
        The counts.
    """
    people, studies, modalities = context.ledger.instances.count_series(chosen)
    counts: Counter[str] = Counter()
    for name, (instances, _) in modalities.items():
        counts[name or "OT"] += instances
    return CohortSummary(
        subjects=people,
        studies=studies,
        instances=sum(counts.values()),
        bytes=sum(size for _, size in modalities.values()),
        modalities=dict(sorted(counts.items())),
    )


def summarise_cohort(members: Members) -> CohortSummary:
    """Count what the instances of a cohort are."""
    rows = [row for one in members.values() for row in one]
    return CohortSummary(
        subjects=len({row.subject for row in rows}),
        studies=len(members),
        instances=len(rows),
        bytes=sum(row.size for row in rows),
        modalities=dict(sorted(Counter(row.modality or "OT" for row in rows).items())),
    )


def small_cells(index: CohortIndex, gate: ReleaseGate, cohort: Selection) -> list[Cell]:
    """Return the cells that have fewer patients than a release gate asks for.

    Parameters
    ----------
    index
        The cohort index.
    gate
        The project's release gate.
    cohort
        The cohort; its cells are made of whole studies.

    Returns
    -------
    list of Cell
        The smallest first. Studies of a list that are not indexed yet are a cell of their own.
    """
    if gate.smallest_cell <= 1:
        return []
    cells = index.cells(cohort, gate.quasi_identifiers, gate.age_bin, gate.smallest_cell)
    if cohort.refs is not None and (unknown := index.missing(cohort.refs)):
        names = ("not indexed yet",) * len(gate.quasi_identifiers)
        cells.append(Cell(names, 0, tuple(unknown)))
    return cells


def small_cells_of(context: ProjectContext, refs: Iterable[str]) -> list[Cell]:
    """Return the small cells of some studies.

    Parameters
    ----------
    context
        The project.
    refs
        References of the studies.

    Returns
    -------
    list of Cell
        As `small_cells` returns them.
    """
    cohort = Selection(context.project.name, refs=tuple(refs))
    return small_cells(context.ledger.cohorts, context.project.release_gate, cohort)


def describe_cells(context: ProjectContext, cells: Sequence[Cell]) -> str:
    """Say which cells are too small, and what can be done.

    Parameters
    ----------
    context
        The project.
    cells
        What `small_cells` returned.

    Returns
    -------
    str
        A text for the steward.
    """
    gate = context.project.release_gate
    shown = "; ".join(
        ", ".join(
            f"{name} {value or 'unknown'}"
            for name, value in zip(gate.quasi_identifiers, cell.values, strict=True)
        )
        + f": {cell.subjects} patients, {len(cell.refs)} studies"
        for cell in cells[:10]
    )
    more = f"; and {len(cells) - 10} more" if len(cells) > 10 else ""
    studies = sum(len(cell.refs) for cell in cells)
    return (
        f"{studies} studies are in {len(cells)} cells with fewer than {gate.smallest_cell} "
        f"patients ({shown}{more}); widen the query, or choose to drop or to keep them"
    )


def hide_small(count: int, smallest: int) -> int | None:
    """Return a count as researchers may see it: rounded down, and None for a small one.

    Rounding down to a multiple keeps two queries that differ by one patient from telling of that
    patient.

    Parameters
    ----------
    count
        The count.
    smallest
        The smallest count that may be shown.

    Returns
    -------
    int or None
        A multiple of `smallest`; None if the count is below it. 0 stays 0.
    """
    if count == 0 or smallest <= 1:
        return count
    return count // smallest * smallest or None
