"""The page's API, under ``/pacsgrid``: every answer is limited to what the user may see.

It reads, and seals what a steward names; what a steward decides goes through Airflow, where it
is a run like any other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles

from pacsgrid.config import Site
from pacsgrid.errors import ConfigError, HeldError, PacsgridError
from pacsgrid.ledger import HeldRecord, Ledger, Overview, ReleaseOverview, StudyRecord, Vault
from pacsgrid.ledger.overview import HourVolume, ReplicaHealth, StateCount, Story
from pacsgrid.ledger.release_overview import ReleaseEntry, WithdrawalEntry
from pacsgrid.model import StudyQuery, StudyState
from pacsgrid.pipeline import ProjectContext
from pacsgrid.pipeline.thumbnails import held_files, thumbnail, thumbnail_anonymised
from pacsgrid.web.access import SiteDep, Viewer, ViewerDep

STATIC = Path(__file__).parent / "static"

app = FastAPI(title="pacsgrid", docs_url=None, redoc_url=None, openapi_url=None)


@dataclass(frozen=True)
class FlowOverview:
    """What is where now."""

    now: datetime
    states: list[StateCount]
    held_reasons: dict[str, int]
    throughput: list[HourVolume]


@dataclass(frozen=True)
class ProjectHealth:
    """A project's replicas, and what the settings ask for; copies are per instance."""

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
class ReleaseHistory:
    """Every version of every release, and every withdrawal."""

    now: datetime
    releases: list[ReleaseEntry]
    withdrawals: list[WithdrawalEntry]


@dataclass(frozen=True)
class StudyDetails:
    """A study's story, and how many held files of it there are to look at."""

    story: Story
    pictures: int


@dataclass(frozen=True)
class FormChoices:
    """The sources, and per project the profiles that may be chosen instead of its own."""

    sources: tuple[str, ...]
    projects: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class SelectionRequest:
    """What a steward names for a project; identifies, so it is sealed and never logged."""

    project: str
    patient_ids: list[str] = field(default_factory=list)
    accession_numbers: list[str] = field(default_factory=list)
    study_uids: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Selection:
    """The opaque name of a sealed selection."""

    selection: str


def _seen(who: Viewer, project: str | None) -> Sequence[str]:
    """Return the projects that are asked for and may be seen."""
    if project and project not in who.projects:
        raise HTTPException(404, f"no project {project} that you may see")
    return [project] if project else who.projects


def _overview(site: Site, who: Viewer, project: str | None = None) -> Overview:
    return Overview(site.ledger_dsn, _seen(who, project))


@app.middleware("http")
async def _keep_nothing(
    request: Request, go_on: Callable[[Request], Awaitable[Response]]
) -> Response:
    # Held images must not stay in a browser's cache, and a new release's scripts must not mix
    # with an old one's.
    response = await go_on(request)
    static = "/static/" in request.url.path
    response.headers["Cache-Control"] = "no-cache" if static else "no-store"
    return response


@app.exception_handler(PacsgridError)
def _explain(request: Request, error: PacsgridError) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 503 if error.retryable else 500)


@app.get("/api/me")
def me(who: ViewerDep) -> Viewer:
    """Who is logged in and what they may see."""
    return who


@app.get("/api/flow")
def flow(
    site: SiteDep,
    who: ViewerDep,
    project: str | None = None,
    hours: Annotated[int, Query(ge=1, le=24 * 366)] = 48,
) -> FlowOverview:
    """Counts per state, reasons of what is held, and what was verified in the last hours."""
    view = _overview(site, who, project)
    with view.snapshot():
        return FlowOverview(
            datetime.now(UTC), view.states(), view.held_reasons(), view.throughput(hours)
        )


@app.get("/api/form")
def form(site: SiteDep, who: ViewerDep) -> FormChoices:
    """What the ingest form offers."""
    return FormChoices(
        tuple(site.sources), {name: site.project(name).profiles for name in who.projects}
    )


@app.post("/api/selections")
def select(site: SiteDep, who: ViewerDep, wanted: SelectionRequest) -> Selection:
    """Seal what a steward names; the run then carries the selection's opaque name only."""
    if not who.ingests:
        raise HTTPException(403, "naming studies needs the right to trigger ingest_studies")
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


@app.get("/api/held")
def held(site: SiteDep, who: ViewerDep, project: str | None = None) -> list[HeldRecord]:
    """What waits for a steward, the oldest first."""
    return _overview(site, who, project).held()


@app.get("/api/replicas")
def replicas(site: SiteDep, who: ViewerDep, project: str | None = None) -> ReplicaOverview:
    """Replica health by project, zone and resource."""
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
def releases(site: SiteDep, who: ViewerDep, project: str | None = None) -> ReleaseHistory:
    """What was released to researchers, and which patients withdrew, by their pseudonyms."""
    view = ReleaseOverview(site.ledger_dsn, _seen(who, project))
    with view.snapshot():
        return ReleaseHistory(datetime.now(UTC), view.releases(), view.withdrawals())


@app.get("/api/studies")
def studies(
    site: SiteDep, who: ViewerDep, project: str | None = None, state: StudyState | None = None
) -> list[StudyRecord]:
    """The studies that changed last."""
    return _overview(site, who, project).studies(state)


def _told(site: Site, who: Viewer, ref: str) -> Story:
    story = _overview(site, who).story(ref)
    if story is None:
        raise HTTPException(404, "no study with this reference that you may see")
    return story


@app.get("/api/studies/{ref}")
def study(site: SiteDep, who: ViewerDep, ref: str) -> StudyDetails:
    """A study's whole story."""
    story = _told(site, who, ref)
    shown = who.reviews and bool(story.held)
    return StudyDetails(story, len(held_files(site.quarantine / ref)) if shown else 0)


def _held_file(site: Site, who: Viewer, ref: str, number: int, what: str) -> tuple[str, Path]:
    """Return the project and path of a held file, for those who review; who looks is entered."""
    if not who.reviews:
        raise HTTPException(403, "held images are shown to those who may trigger review_held")
    story = _told(site, who, ref)
    if not story.held:
        raise HTTPException(404, "nothing of this study is held")
    files = held_files(site.quarantine / ref)
    if not 0 <= number < len(files):
        raise HTTPException(404, f"of this study {len(files)} files are held")
    Ledger(site.ledger_dsn).audit.add_access(who.name, ref, f"{what} {number}")
    return story.study.project, files[number]


@app.get("/api/studies/{ref}/pictures/{number}")
def picture(site: SiteDep, who: ViewerDep, ref: str, number: int) -> Response:
    """One held file's first frame as PNG."""
    _, path = _held_file(site, who, ref, number, "held picture")
    return _png(lambda: thumbnail(path))


@app.get("/api/studies/{ref}/pictures/{number}/after")
def picture_after(
    site: SiteDep, who: ViewerDep, ref: str, number: int, profile: str = ""
) -> Response:
    """The same frame as the project's profile, or another it allows, would let it out."""
    project, path = _held_file(site, who, ref, number, "picture after anonymising")
    try:
        context = ProjectContext(site, project, who.name, profile)
    except ConfigError as error:
        raise HTTPException(422, str(error)) from None
    with context:
        return _png(lambda: thumbnail_anonymised(context, path))


def _png(drawn: Callable[[], bytes]) -> Response:
    try:
        return Response(drawn(), media_type="image/png")
    except HeldError as error:
        raise HTTPException(422, error.detail) from None


app.mount("/static", StaticFiles(directory=STATIC), name="static")
