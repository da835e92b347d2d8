"""The page's API under ``/pacsgrid``; every answer is limited to what the user may see.

It reads the ledger, and seals the patients and studies that a steward names. Decisions go through
Airflow, as runs of a DAG.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles

from pacsgrid.config import Site, parse_selection
from pacsgrid.errors import ConfigError, PacsgridError
from pacsgrid.ledger import (
    HeldRecord,
    Ingest,
    Ledger,
    Overview,
    ReleaseOverview,
    Vault,
)
from pacsgrid.ledger.overview import (
    HeldCounts,
    HourVolume,
    NotWantedCount,
    ReplicaHealth,
    StateCount,
    Story,
    StudyOrder,
)
from pacsgrid.ledger.records import ListedStudy
from pacsgrid.ledger.release_overview import ReleaseEntry, WithdrawalEntry
from pacsgrid.model import StudyQuery, StudyState
from pacsgrid.pipeline import ProjectContext
from pacsgrid.pipeline.thumbnails import held_files, thumbnail, thumbnail_anonymised
from pacsgrid.web import grants, results, review, viewer
from pacsgrid.web.access import PAGE_DAG, WITHDRAW_DAG, SiteDep, Viewer, ViewerDep
from pacsgrid.web.cohorts import router as cohorts
from pacsgrid.web.png import png

STATIC = Path(__file__).parent / "static"
# How many rows a page of a list has.
PAGE = 100
_REFERENCE = re.compile("st-[0-9a-f]{4,20}")

app = FastAPI(title="pacsgrid", docs_url=None, redoc_url=None, openapi_url=None)
app.include_router(grants.router)
app.include_router(results.router)


@dataclass(frozen=True)
class FlowOverview:
    """How many studies are in which state, what is held, and what was verified lately."""

    now: datetime
    states: list[StateCount]
    held: HeldCounts
    held_reasons: dict[str, HeldCounts]
    not_wanted: NotWantedCount
    content_warnings: dict[str, int]
    throughput: list[HourVolume]


@dataclass(frozen=True)
class ProjectHealth:
    """A project's replicas beside what its settings ask for.

    Attributes
    ----------
    project
        The project's name.
    instances
        Number of instances in the ledger.
    wanted
        Copies of each instance that the project asks for, by zone.
    resources
        Replica health by zone and resource.
    """

    project: str
    instances: int
    wanted: dict[str, int]
    resources: list[ReplicaHealth]


@dataclass(frozen=True)
class ReplicaOverview:
    """Replica health of every project the user sees."""

    now: datetime
    projects: list[ProjectHealth]


@dataclass(frozen=True)
class ReleasePage:
    """A page of versions of releases, the newest first; ``more`` tells that there are others."""

    now: datetime
    releases: list[ReleaseEntry]
    more: bool


@dataclass(frozen=True)
class WithdrawalPage:
    """A page of withdrawals, the newest first; ``more`` tells that there are others."""

    now: datetime
    withdrawals: list[WithdrawalEntry]
    more: bool


@dataclass(frozen=True)
class HeldPage:
    """A page of what is held, with the counts of all: whole studies and single files apart.

    Attributes
    ----------
    more
        Whether there are others after these.
    """

    now: datetime
    rows: list[HeldRecord]
    more: bool
    counts: HeldCounts
    reasons: dict[str, HeldCounts]


@dataclass(frozen=True)
class StudyPage:
    """A page of studies, with the number of all by state.

    Attributes
    ----------
    more
        Whether there are others after these.
    """

    now: datetime
    rows: list[ListedStudy]
    more: bool
    states: dict[StudyState, int]


@dataclass(frozen=True)
class StudyDetails:
    """A study's history, and how many of its held files can be looked at."""

    story: Story
    pictures: int


@dataclass(frozen=True)
class IngestProgress:
    """An ingest, how many of its studies are pending, and the hours of work that are left."""

    ingest: Ingest
    pending: int
    hours_left: float | None


@dataclass(frozen=True)
class FormChoices:
    """What the ingest form offers: the sources, and each project's other profiles."""

    sources: tuple[str, ...]
    projects: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class SelectionRequest:
    """The patients and studies that a steward names; identifying, so sealed and never logged."""

    project: str
    patient_ids: list[str] = field(default_factory=list)
    accession_numbers: list[str] = field(default_factory=list)
    study_uids: list[str] = field(default_factory=list)
    purpose: Literal["ingest", "withdrawal"] = "ingest"


@dataclass(frozen=True)
class SeriesRules:
    """The form's rules about series, one a line."""

    include: list[str] = field(default_factory=list)
    exclude: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Selection:
    """The opaque name of a sealed selection."""

    selection: str


def _overview(site: Site, who: Viewer, project: str | None = None) -> Overview:
    return Overview(site.ledger_dsn, who.seen(project))


@app.middleware("http")
async def _forbid_caching(
    request: Request, handle: Callable[[Request], Awaitable[Response]]
) -> Response:
    # Held images must not stay in a browser's cache. Scripts are validated each time, so that
    # those of two releases never mix.
    # The viewer's files say themselves how long they stay.
    response = await handle(request)
    static = "/static/" in request.url.path
    response.headers.setdefault("Cache-Control", "no-cache" if static else "no-store")
    return response


@app.exception_handler(PacsgridError)
def _error_as_json(request: Request, error: PacsgridError) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 503 if error.retryable else 500)


@app.get("/api/me")
def me(who: ViewerDep) -> Viewer:
    """Return who is logged in and what they may see."""
    return who


@app.get("/api/flow")
def flow(
    site: SiteDep,
    who: ViewerDep,
    project: str | None = None,
    hours: Annotated[int, Query(ge=1, le=24 * 366)] = 48,
) -> FlowOverview:
    """Return studies by state, reasons of held ones, and what was verified in the last hours.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    project
        A project's name; None for all that the user may see.
    hours
        How far the volumes go back, in hours.

    Returns
    -------
    FlowOverview
        The overview.
    """
    view = _overview(site, who, project)
    with view.snapshot():
        return FlowOverview(
            datetime.now(UTC),
            view.states(),
            view.held_counts(),
            view.held_reasons(),
            view.not_wanted(),
            view.content_warnings(),
            view.throughput(hours),
        )


@app.get("/api/ingests")
def ingests(site: SiteDep, who: ViewerDep, project: str | None = None) -> list[IngestProgress]:
    """Return the ingests that have not ended, and the last that have, with their progress.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    project
        A project's name; None for all that the user may see.

    Returns
    -------
    list of IngestProgress
        The newest first.
    """
    found = Ledger(site.ledger_dsn).ingests.of_projects(who.seen(project))
    return [IngestProgress(one, one.pending, one.hours_left) for one in found]


@app.post("/api/ingests/{name}/{action}")
def change_ingest(
    site: SiteDep, who: ViewerDep, name: str, action: Literal["pause", "resume"]
) -> IngestProgress:
    """Pause an ingest after its present wave, or let it go on.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    name
        The ingest's id.
    action
        What to do.

    Returns
    -------
    IngestProgress
        The ingest as it is now.

    Raises
    ------
    HTTPException
        403 without the right to ingest, 404 for an unknown ingest.
    """
    if not who.ingests:
        raise HTTPException(403, "pausing an ingest needs the right to trigger ingest_studies")
    store = Ledger(site.ledger_dsn, who.name).ingests
    found = store.get(name)
    if found is None or found.project not in who.projects:
        raise HTTPException(404, "no ingest with this id that you may see")
    paused = action == "pause"
    if store.pause(name, paused, f"paused by {who.name}" if paused else ""):
        found = store.get(name) or found
    return IngestProgress(found, found.pending, found.hours_left)


@app.get("/api/form")
def form(site: SiteDep, who: ViewerDep) -> FormChoices:
    """Return what the ingest form offers.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.

    Returns
    -------
    FormChoices
        The choices.
    """
    return FormChoices(
        tuple(site.sources), {name: site.project(name).profiles for name in who.projects}
    )


@app.post("/api/selections")
def select(site: SiteDep, who: ViewerDep, wanted: SelectionRequest) -> Selection:
    """Seal what a steward names; the run carries only the selection's opaque name.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    wanted
        The patients and studies.

    Returns
    -------
    Selection
        The opaque name.

    Raises
    ------
    HTTPException
        403 without the right to ingest, or to withdraw, 404 for an unknown project, 422 for
        invalid values.
    """
    dag, may = {
        "ingest": (PAGE_DAG, who.ingests),
        "withdrawal": (WITHDRAW_DAG, who.withdraws),
    }[wanted.purpose]
    if not may:
        raise HTTPException(403, f"naming studies needs the right to trigger {dag}")
    _overview(site, who, wanted.project)
    query = StudyQuery(
        patient_ids=tuple(wanted.patient_ids),
        accession_numbers=tuple(wanted.accession_numbers),
        study_uids=tuple(wanted.study_uids),
    )
    try:
        selections, vault = Ledger(site.ledger_dsn).selections, Vault(site.vault_key)
        return Selection(selections.add(vault, wanted.project, who.name, query))
    except ConfigError as error:
        raise HTTPException(422, str(error)) from None


@app.post("/api/series")
def check_series(who: ViewerDep, rules: SeriesRules) -> None:
    """Check the form's rules about series, before a run is started with them.

    Parameters
    ----------
    who
        Who is logged in.
    rules
        The rules, one a line.

    Raises
    ------
    HTTPException
        403 without the right to ingest, 422 for a rule that is wrong.
    """
    if not who.ingests:
        raise HTTPException(403, "choosing series needs the right to trigger ingest_studies")
    try:
        parse_selection(rules.include, rules.exclude)
    except ConfigError as error:
        raise HTTPException(422, str(error)) from None


@app.get("/api/held")
def held(
    site: SiteDep,
    who: ViewerDep,
    project: str | None = None,
    reason: str = "",
    kind: Literal["study", "file"] | None = None,
    order: Literal["oldest", "newest"] = "oldest",
    since: datetime | None = None,
    ref: str = "",
    code: str = "",
) -> HeldPage:
    """Return a page of what waits for a steward.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    project
        A project's name; None for all that the user may see.
    reason
        The reason's code; empty for any.
    kind
        Whole studies or single files; None for both.
    order
        Which come first.
    since, ref, code
        Those of the last record of the page before; None for the first page.

    Returns
    -------
    HeldPage
        About 100 held studies and files.
    """
    last = HeldRecord(ref, "", "", False, code, "", since) if since else None
    whole = None if kind is None else kind == "study"
    view = _overview(site, who, project)
    with view.snapshot():
        rows = view.held(PAGE, last, reason, whole, order == "newest")
        more = bool(rows) and bool(view.held(1, rows[-1], reason, whole, order == "newest"))
        return HeldPage(datetime.now(UTC), rows, more, view.held_counts(), view.held_reasons())


@app.get("/api/replicas")
def replicas(site: SiteDep, who: ViewerDep, project: str | None = None) -> ReplicaOverview:
    """Return replica health by project, zone and resource.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    project
        A project's name; None for all that the user may see.

    Returns
    -------
    ReplicaOverview
        The overview.
    """
    view = _overview(site, who, project)
    with view.snapshot():
        rows, counts = view.replicas(), view.instances()
    names = [project] if project else who.projects
    healths = []
    for name in names:
        wanted = site.project(name).replication.copies
        mine = [row for row in rows if row.project == name]
        healths.append(ProjectHealth(name, counts.get(name, 0), wanted, mine))
    return ReplicaOverview(datetime.now(UTC), healths)


@app.get("/api/releases")
def releases(
    site: SiteDep,
    who: ViewerDep,
    project: str | None = None,
    before: datetime | None = None,
    name: str = "",
    version: int = 0,
) -> ReleasePage:
    """Return a page of the releases' versions.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    project
        A project's name; None for all that the user may see.
    before, name, version
        Those of the last one of the page before; None for the first page.

    Returns
    -------
    ReleasePage
        At most 100 versions.
    """
    view = ReleaseOverview(site.ledger_dsn, who.seen(project))
    found = view.releases(PAGE + 1, (before, name, version) if before else None)
    return ReleasePage(datetime.now(UTC), found[:PAGE], len(found) > PAGE)


@app.get("/api/withdrawals")
def withdrawals(
    site: SiteDep,
    who: ViewerDep,
    project: str | None = None,
    before: datetime | None = None,
    of: str = "",
    subject: str = "",
) -> WithdrawalPage:
    """Return a page of the withdrawals, by the patients' pseudonyms.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    project
        A project's name; None for all that the user may see.
    before, of, subject
        Time, project and subject of the last one of the page before; None for the first page.

    Returns
    -------
    WithdrawalPage
        At most 100 withdrawals.
    """
    view = ReleaseOverview(site.ledger_dsn, who.seen(project))
    found = view.withdrawals(PAGE + 1, (before, of, subject) if before else None)
    return WithdrawalPage(datetime.now(UTC), found[:PAGE], len(found) > PAGE)


@app.get("/api/studies")
def studies(
    site: SiteDep,
    who: ViewerDep,
    project: str | None = None,
    state: StudyState | None = None,
    source: str = "",
    order: StudyOrder = StudyOrder.NEWEST,
    find: str = "",
    after: str = "",
    ref: str = "",
) -> StudyPage:
    """Return a page of studies, by default those that changed last first.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    project
        A project's name; None for all that the user may see.
    state
        The state of the studies; None for any.
    source
        The name of their DICOM source; empty for any.
    order
        How they are sorted.
    find
        How the reference begins; with it, state, source and order are not asked for.
    after, ref
        Change (or size, if sorted by it) and reference of the last study of the page before; empty
        for the first page.

    Returns
    -------
    StudyPage
        At most 100 studies.

    Raises
    ------
    HTTPException
        422 for a place in the list or a reference that is none.
    """
    if find and not _REFERENCE.fullmatch(find):
        raise HTTPException(
            422, "a reference begins with st- and at least four of the digits 0-9 and a-f"
        )
    try:
        value = int(after) if order.column == "bytes" else datetime.fromisoformat(after)
        place = (value, ref)
    except ValueError:
        if after:
            raise HTTPException(422, "after: give it as the page before has it") from None
        place = None
    view = _overview(site, who, project)
    with view.snapshot():
        if find:
            found = view.find(find, PAGE + 1)
        else:
            found = view.studies(state, PAGE + 1, place, source, order)
        states: dict[StudyState, int] = {}
        for row in view.states():
            states[row.state] = states.get(row.state, 0) + row.studies
    return StudyPage(datetime.now(UTC), found[:PAGE], len(found) > PAGE, states)


def _story(site: Site, who: Viewer, ref: str) -> Story:
    story = _overview(site, who).story(ref)
    if story is None:
        raise HTTPException(404, "no study with this reference that you may see")
    return story


@app.get("/api/studies/{ref}")
def study(site: SiteDep, who: ViewerDep, ref: str) -> StudyDetails:
    """Return a study's whole history.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    ref
        The study's reference.

    Returns
    -------
    StudyDetails
        The history.

    Raises
    ------
    HTTPException
        404 for a study that the user may not see.
    """
    story = _story(site, who, ref)
    shown = who.reviews and bool(story.held)
    return StudyDetails(story, len(held_files(site.quarantine / ref)) if shown else 0)


def _held_file(site: Site, who: Viewer, ref: str, number: int, what: str) -> tuple[str, Path]:
    """Return the project and path of a held file, and record who looks at it."""
    if not who.reviews:
        raise HTTPException(403, "held images are shown to those who may trigger review_held")
    story = _story(site, who, ref)
    if not story.held:
        raise HTTPException(404, "nothing of this study is held")
    files = held_files(site.quarantine / ref)
    if not 0 <= number < len(files):
        raise HTTPException(404, f"this study has {len(files)} held files")
    Ledger(site.ledger_dsn).audit.add_access(who.name, ref, f"{what} {number}")
    return story.study.project, files[number]


@app.get("/api/studies/{ref}/pictures/{number}")
def picture(site: SiteDep, who: ViewerDep, ref: str, number: int) -> Response:
    """Return a held file's first frame as PNG; record who looked at it.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    ref
        The study's reference.
    number
        Number of the held file, from 0.

    Returns
    -------
    Response
        The PNG image.

    Raises
    ------
    HTTPException
        403 without the right to review, 404 for no such file, 422 for one that is not an image.
    """
    _, path = _held_file(site, who, ref, number, "held picture")
    return png(lambda: thumbnail(path))


@app.get("/api/studies/{ref}/pictures/{number}/after")
def picture_after(
    site: SiteDep, who: ViewerDep, ref: str, number: int, profile: str = ""
) -> Response:
    """Return the same frame as a profile of the project would release it, as PNG.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    ref
        The study's reference.
    number
        Number of the held file, from 0.
    profile
        The name of the profile; empty for the project's default.

    Returns
    -------
    Response
        The PNG image.

    Raises
    ------
    HTTPException
        403 without the right to review, 404 for no such file, 422 for an unknown profile or a
        file that cannot be anonymised.
    """
    project, path = _held_file(site, who, ref, number, "picture after anonymising")
    try:
        context = ProjectContext(site, project, who.name, profile)
    except ConfigError as error:
        raise HTTPException(422, str(error)) from None
    with context:
        return png(lambda: thumbnail_anonymised(context, path))


app.include_router(review.router)
app.include_router(cohorts)
app.mount("/viewer", viewer.app)
app.mount("/dicom-web", viewer.dicomweb)
app.mount("/static", StaticFiles(directory=STATIC), name="static")
