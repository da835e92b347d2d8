"""Requests and grants of researchers, for the stewards who may release cohorts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from fastapi import APIRouter, HTTPException

from pacsgrid.config import Site
from pacsgrid.errors import ConfigError
from pacsgrid.ledger import Grant, GrantEvent, GrantState, Ledger
from pacsgrid.pipeline import ProjectContext
from pacsgrid.pipeline.grants import approve_grant, end_grant, refuse_grant
from pacsgrid.web.access import RELEASE_DAG, SiteDep, Viewer, ViewerDep

router = APIRouter()
PAGE = 100


@dataclass(frozen=True)
class GrantEntry:
    """A grant with its state by the clock, and what happened to it."""

    grant: Grant
    state: GrantState
    events: list[GrantEvent]


@dataclass(frozen=True)
class GrantPage:
    """A page of grants, the newest request first; ``more`` tells that there are others."""

    now: datetime
    grants: list[GrantEntry]
    more: bool


@dataclass(frozen=True)
class Decision:
    """What a steward decides; ``until`` is needed to approve, a reason to refuse."""

    until: datetime | None = None
    reason: str = ""


@dataclass(frozen=True)
class Outcome:
    """A grant after a decision, and whether its rights in the home zone follow it already."""

    entry: GrantEntry
    settled: bool


def _entries(ledger: Ledger, grants: Sequence[Grant], now: datetime) -> list[GrantEntry]:
    events = ledger.grants.events_of([one.id for one in grants])
    return [GrantEntry(one, one.state_at(now), events.get(one.id, [])) for one in grants]


@router.get("/api/grants")
def grants(
    site: SiteDep,
    who: ViewerDep,
    project: str | None = None,
    before: datetime | None = None,
    id: str = "",
) -> GrantPage:
    """Return a page of who asked for which release, and who holds which grant.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    project
        A project's name; None for all that the user may see.
    before, id
        Time of the request and id of the last grant of the page before; None for the first page.

    Returns
    -------
    GrantPage
        At most 100 grants.

    Raises
    ------
    HTTPException
        404 for a project that the user may not see.
    """
    ledger, now = Ledger(site.ledger_dsn), datetime.now(UTC)
    after = (before, id) if before else None
    with ledger.database.snapshot():
        found = ledger.grants.of_projects(who.seen(project), PAGE + 1, after)
        return GrantPage(now, _entries(ledger, found[:PAGE], now), len(found) > PAGE)


@router.post("/api/grants/{name}/{verdict}")
def decide(
    site: SiteDep,
    who: ViewerDep,
    name: str,
    verdict: Literal["approve", "refuse", "end"],
    decision: Decision,
) -> Outcome:
    """Approve a request until a time, give a grant another end, refuse it, or end it.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    name
        The grant's id.
    verdict
        What to do.
    decision
        The end and the reason.

    Returns
    -------
    Outcome
        The grant as it is now.

    Raises
    ------
    HTTPException
        403 without the right to release cohorts, 404 for an unknown grant, 422 for what cannot be
        done.
    """
    if not who.releases:
        raise HTTPException(403, f"answering researchers needs the right to trigger {RELEASE_DAG}")
    ledger = Ledger(site.ledger_dsn)
    grant = ledger.grants.get(name)
    if grant is None or grant.project not in who.projects:
        raise HTTPException(404, "no request with this id that you may see")
    try:
        settled = _decide(site, who, grant, verdict, decision)
    except ConfigError as error:
        raise HTTPException(422, str(error)) from None
    after = ledger.grants.get(name) or grant
    return Outcome(_entries(ledger, [after], datetime.now(UTC))[0], settled)


def _decide(site: Site, who: Viewer, grant: Grant, verdict: str, decision: Decision) -> bool:
    with ProjectContext(site, grant.project, who.name) as context:
        if verdict == "refuse":
            refuse_grant(context, grant, who.name, decision.reason)
            return True
        if verdict == "end":
            return end_grant(context, grant, who.name, decision.reason)
        if decision.until is None:
            raise ConfigError("until: say when the access ends")
        return approve_grant(context, grant, decision.until, who.name, decision.reason)
