"""The cohort builder's API: counts, distributions, series, their images, and saved cohorts.

Whoever sees a project may count. Without the right to release, counts are rounded as the
project's release gate says, and neither series nor images are shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Response
from pydantic import Field

from pacsgrid.cohort_query import CohortQueryError, attributes, parse_all
from pacsgrid.errors import ConfigError
from pacsgrid.ledger import Ledger
from pacsgrid.ledger.cohort_index import Cell, FoundSeries, Selection
from pacsgrid.ledger.saved_cohorts import SavedCohort
from pacsgrid.pipeline import ProjectContext
from pacsgrid.pipeline.cohorts import hide_small, small_cells
from pacsgrid.pipeline.thumbnails import series_thumbnail
from pacsgrid.uids import is_uid
from pacsgrid.web.access import SiteDep, Viewer, ViewerDep
from pacsgrid.web.png import png

router = APIRouter(prefix="/api/cohorts/{project}")

_MOST_CELLS = 50
Uid = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)*$", max_length=64)]


@dataclass(frozen=True)
class CohortRequest:
    """What the builder asks about.

    Attributes
    ----------
    criteria
        Cohort queries, every one of which a series must match.
    excluded
        UIDs of series that are left out.
    """

    criteria: Annotated[list[str], Field(max_length=50)] = field(default_factory=list)
    excluded: Annotated[list[Uid], Field(max_length=10_000)] = field(default_factory=list)


@dataclass(frozen=True)
class Bar:
    """A value and how many have it; None for a count that is hidden."""

    value: str
    count: int | None


@dataclass(frozen=True)
class CohortAnswer:
    """How much a query selects.

    Attributes
    ----------
    exact
        Whether the counts are exact; others are rounded down, and None is a small one.
    smallest
        The smallest count that is shown to those who get no exact ones, and that a cell must have.
    subjects, studies, series, instances, bytes
        The counts; instances and bytes are those of the whole studies.
    distributions
        Bars by attribute.
    small_studies
        How many studies are in cells below the release gate; None where it is not told.
    small_cells
        These cells, the smallest first, 50 at most.
    """

    exact: bool
    smallest: int
    subjects: int | None
    studies: int | None
    series: int | None
    instances: int | None
    bytes: int | None
    distributions: Mapping[str, list[Bar]]
    small_studies: int | None
    small_cells: list[Cell]


@dataclass(frozen=True)
class PageRequest(CohortRequest):
    """A page of a cohort's series.

    Attributes
    ----------
    after
        The reference of the last study of the page before.
    """

    after: str = ""


@dataclass(frozen=True)
class SaveRequest(CohortRequest):
    """A cohort to be saved.

    Attributes
    ----------
    name
        Its name.
    matching
        Whether it has the matching series only, and not the whole studies.
    """

    name: str = ""
    matching: bool = False


def _check(who: Viewer, project: str, releases: bool = False) -> None:
    """Answer 404 to a project that the user may not see, 403 without the right to release."""
    if project not in who.projects:
        raise HTTPException(404, f"no project {project} that you may see")
    if releases and not who.releases:
        raise HTTPException(403, "this needs the right to trigger release_cohort")


def _selection(project: str, wanted: CohortRequest) -> Selection:
    try:
        return Selection(project, parse_all(wanted.criteria), frozenset(wanted.excluded))
    except CohortQueryError as error:
        raise HTTPException(422, str(error)) from None


@router.get("/attributes")
def cohort_attributes(who: ViewerDep, project: str) -> dict[str, str]:
    """Return the attributes that a query may name, and how their values are compared.

    Parameters
    ----------
    who
        Who is logged in.
    project
        A project's name.

    Returns
    -------
    dict of str to str
        Kinds by keyword.
    """
    _check(who, project)
    return {name: one.kind.value for name, one in attributes().items()}


@router.post("/count")
def count(site: SiteDep, who: ViewerDep, project: str, wanted: CohortRequest) -> CohortAnswer:
    """Return how much a query selects, and how it is distributed.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    project
        A project's name.
    wanted
        The query.

    Returns
    -------
    CohortAnswer
        The counts, rounded for those who may not release.

    Raises
    ------
    HTTPException
        404 for an unknown project, 422 for a query that cannot be understood.
    """
    _check(who, project)
    chosen = _selection(project, wanted)
    gate = site.project(project).release_gate
    smallest = gate.smallest_cell
    least = 1 if who.releases else smallest
    if not who.releases and wanted.excluded:
        raise HTTPException(403, "excluding series needs the right to trigger release_cohort")
    index = Ledger(site.ledger_dsn).cohorts
    counts = index.count(chosen)
    distributions = index.distributions(chosen)
    cells = small_cells(index, gate, chosen) if who.releases else []
    # Sizes tell of single patients too: they are told from the smallest count on only.
    told = hide_small(counts.subjects, least) is not None
    exact = who.releases or smallest <= 1
    return CohortAnswer(
        exact,
        smallest,
        hide_small(counts.subjects, least),
        hide_small(counts.studies, least),
        hide_small(counts.series, least) if told else None,
        counts.study_instances if exact else None,
        counts.study_bytes if exact else None,
        {
            name: [Bar(value, hide_small(number, least)) for value, number in bars] if told else []
            for name, bars in distributions.items()
        },
        sum(len(cell.refs) for cell in cells) if who.releases else None,
        cells[:_MOST_CELLS],
    )


@router.post("/series")
def series(site: SiteDep, who: ViewerDep, project: str, wanted: PageRequest) -> list[FoundSeries]:
    """Return a page of the series that a query selects.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    project
        A project's name.
    wanted
        The query, and where the page begins.

    Returns
    -------
    list of FoundSeries
        The series of 20 studies.

    Raises
    ------
    HTTPException
        403 without the right to release, 404 for an unknown project, 422 for a query that cannot
        be understood.
    """
    _check(who, project, releases=True)
    # What is left out stays in the list, so that it can be taken back.
    shown = _selection(project, CohortRequest(wanted.criteria))
    return Ledger(site.ledger_dsn).cohorts.page(shown, wanted.after, 20)


@router.get("/series/{uid}/picture")
def picture(
    site: SiteDep,
    who: ViewerDep,
    project: str,
    uid: Annotated[str, Path(max_length=64)],
) -> Response:
    """Return the middle image of an anonymised series as PNG; record who looked at it.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    project
        A project's name.
    uid
        The series' UID.

    Returns
    -------
    Response
        The PNG image.

    Raises
    ------
    HTTPException
        403 without the right to release, 404 for no such series, 422 for one without an image.
    """
    _check(who, project, releases=True)
    if not is_uid(uid):
        raise HTTPException(404, "no such series")
    with ProjectContext(site, project, who.name) as context:
        rows = context.ledger.instances.of_verified_series(project, uid)
        if not rows:
            raise HTTPException(404, "no verified series of this UID in this project")
        ref, instances = rows
        context.ledger.audit.add_access(who.name, ref, "released picture of a series")
        return png(lambda: series_thumbnail(context, instances))


@router.get("/saved")
def saved(site: SiteDep, who: ViewerDep, project: str) -> list[SavedCohort]:
    """Return the saved cohorts of a project.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    project
        A project's name.

    Returns
    -------
    list of SavedCohort
        By name.
    """
    _check(who, project, releases=True)
    return Ledger(site.ledger_dsn).saved_cohorts.of_project(project)


@router.post("/saved")
def save(site: SiteDep, who: ViewerDep, project: str, wanted: SaveRequest) -> list[SavedCohort]:
    """Save a cohort by name, or replace the one of this name.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    project
        A project's name.
    wanted
        The cohort.

    Returns
    -------
    list of SavedCohort
        The saved cohorts of the project.

    Raises
    ------
    HTTPException
        403 without the right to release, 404 for an unknown project, 422 for a name or a query
        that is not allowed.
    """
    _check(who, project, releases=True)
    _selection(project, wanted)
    store = Ledger(site.ledger_dsn, who.name).saved_cohorts
    criteria = [text for text in wanted.criteria if text.strip()]
    if not criteria:
        raise HTTPException(422, "a saved cohort needs a query")
    try:
        store.save(project, wanted.name, criteria, wanted.excluded, wanted.matching, who.name)
    except ConfigError as error:
        raise HTTPException(422, str(error)) from None
    return store.of_project(project)


@router.post("/saved/{name}/remove")
def remove(site: SiteDep, who: ViewerDep, project: str, name: str) -> list[SavedCohort]:
    """Take a saved cohort off the list; its history stays in the ledger.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    project
        A project's name.
    name
        The saved cohort's name.

    Returns
    -------
    list of SavedCohort
        The saved cohorts that are left.

    Raises
    ------
    HTTPException
        403 without the right to release, 404 for an unknown project or cohort.
    """
    _check(who, project, releases=True)
    store = Ledger(site.ledger_dsn, who.name).saved_cohorts
    try:
        store.get(project, name)
    except ConfigError as error:
        raise HTTPException(404, str(error)) from None
    store.remove(project, name, who.name)
    return store.of_project(project)
