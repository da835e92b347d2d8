"""Results that researchers sent back, for the stewards who decide about them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from fastapi import APIRouter, HTTPException
from pydicom.uid import UID

from pacsgrid.ledger import Ledger, ResultEntry, ResultOverview, Standing
from pacsgrid.pipeline import ProjectContext
from pacsgrid.pipeline.results import decide_release
from pacsgrid.web.access import RELEASE_DAG, SiteDep, ViewerDep

router = APIRouter()
PAGE = 50


@dataclass(frozen=True)
class ShownResult:
    """A result, and its objects' kinds in words (PS3.6 annex A)."""

    result: ResultEntry
    kinds: list[str]


@dataclass(frozen=True)
class ResultPage:
    """A page of results, the newest first.

    Attributes
    ----------
    more
        Whether there are older ones.
    destinations
        The archives that results may go back to.
    """

    now: datetime
    results: list[ShownResult]
    more: bool
    destinations: list[str]


@dataclass(frozen=True)
class Why:
    """The reason of a decision, for the audit trail."""

    reason: str


@router.get("/api/results")
def results(
    site: SiteDep,
    who: ViewerDep,
    project: str | None = None,
    standing: Standing | None = None,
    before: datetime | None = None,
    ref: str = "",
) -> ResultPage:
    """Return a page of results.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    project
        A project's name; None for all that the user may see.
    standing
        What was decided about them; None for any.
    before, ref
        Creation and reference of the last result of the page before; None for the first page.

    Returns
    -------
    ResultPage
        At most 50 results.

    Raises
    ------
    HTTPException
        404 for a project that the user may not see.
    """
    view = ResultOverview(site.ledger_dsn, who.seen(project))
    with view.snapshot():
        found = view.results(standing, PAGE + 1, (before, ref) if before else None)
    shown = [ShownResult(one, [_words(k.sop_class, k.objects) for k in one.kinds]) for one in found]
    return ResultPage(datetime.now(UTC), shown[:PAGE], len(found) > PAGE, sorted(site.returns))


def _words(sop_class: str, objects: int) -> str:
    name = UID(sop_class).name.removesuffix(" Storage")
    return name if objects == 1 else f"{objects} × {name}"


@router.post("/api/results/{ref}/{verdict}")
def decide(
    site: SiteDep,
    who: ViewerDep,
    ref: str,
    verdict: Literal["release", "withhold"],
    why: Why,
) -> None:
    """Decide whether cohorts include a result; the decision goes into the audit trail.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    ref
        The result's reference.
    verdict
        What to do.
    why
        The reason.

    Raises
    ------
    HTTPException
        403 without the right to release cohorts, 404 for an unknown result, 422 without a reason.
    """
    if not who.releases:
        raise HTTPException(403, f"deciding about results needs the right to trigger {RELEASE_DAG}")
    result = Ledger(site.ledger_dsn).results.get(ref)
    if result is None or result.project not in who.projects:
        raise HTTPException(404, "no result with this reference that you may see")
    if not why.reason.strip():
        raise HTTPException(422, "give a reason: the decision is recorded with it")
    with ProjectContext(site, result.project, who.name) as context:
        decide_release(context, ref, verdict == "release", who.name, why.reason.strip())
