"""Grant researchers access to releases, and let the rights in iRODS follow.

A decision is entered into the ledger first. What follows is repeated by housekeeping until it is
done, so that a zone that is away delays rights but loses none, and a right never outlives its
grant by more than a night. The gateway reads the end of a grant from its group's name and keeps
to it by the clock.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from pacsgrid.errors import ConfigError, PacsgridError, ZoneUnavailableError
from pacsgrid.grid import study_collection
from pacsgrid.grid.layout import place_of_result
from pacsgrid.grid.read_grants import close, grant_group, open_to
from pacsgrid.ledger import Grant, GrantState
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.studies import is_reachable
from pacsgrid.uids import collection

log = logging.getLogger(__name__)

LONGEST = timedelta(days=3660)
_SHORTEST_PURPOSE, _LONGEST_TEXT = 10, 2000


def request_grant(
    context: ProjectContext,
    release: str,
    version: int,
    researcher: str,
    purpose: str,
    wanted_until: datetime,
    now: datetime | None = None,
) -> str:
    """Return the id of a researcher's new request for a version of a release.

    Parameters
    ----------
    context
        The project.
    release, version
        The version of a release.
    researcher
        The iRODS user, ``name#zone``.
    purpose
        What the images are needed for, in at least ten characters.
    wanted_until
        Until when.
    now
        The current time.

    Raises
    ------
    ConfigError
        The purpose is too short or too long, the time has passed or is too far away, there is no
        such version, or it was asked for already.
    """
    purpose = _text(purpose, "purpose")
    _check_end(wanted_until, now or datetime.now(UTC))
    return context.ledger.grants.ask(
        context.project.name, release, version, researcher, purpose, wanted_until
    )


def approve_grant(
    context: ProjectContext,
    grant: Grant,
    until: datetime,
    who: str,
    reason: str,
    now: datetime | None = None,
) -> bool:
    """Grant a request until a time, or give a grant another end, and set the rights.

    Parameters
    ----------
    context
        The grant's project.
    grant
        The request or grant.
    until
        When access ends.
    who, reason
        The steward, and why; the reason may be empty.
    now
        The current time.

    Returns
    -------
    bool
        Whether the rights are set. If not, the home zone is away; housekeeping sets them.

    Raises
    ------
    ConfigError
        The time has passed or is too far away, the request was answered otherwise, or the home
        zone has no such user.
    """
    now = now or datetime.now(UTC)
    until = until.astimezone(UTC).replace(microsecond=0)
    _check_end(until, now)
    context.ledger.grants.approve(grant.id, until, who, reason.strip())
    return _settled(context, grant.id, now, who)


def refuse_grant(context: ProjectContext, grant: Grant, who: str, reason: str) -> None:
    """Refuse a request.

    Parameters
    ----------
    context
        The request's project.
    grant
        The request.
    who, reason
        The steward, and why, in at least ten characters: the researcher reads it.

    Raises
    ------
    ConfigError
        The reason is missing, or the request was answered already.
    """
    context.ledger.grants.refuse(grant.id, who, _text(reason, "reason"))


def end_grant(
    context: ProjectContext, grant: Grant, who: str, reason: str, now: datetime | None = None
) -> bool:
    """End a grant before its time, or take a request back; the rights go at once.

    Parameters
    ----------
    context
        The grant's project.
    grant
        The grant or request.
    who, reason
        The steward or researcher, and why.
    now
        The current time.

    Returns
    -------
    bool
        Whether the rights are gone. If not, the home zone is away; housekeeping removes them.

    Raises
    ------
    ConfigError
        It has ended already.
    """
    context.ledger.grants.end(grant.id, who, reason.strip())
    return _settled(context, grant.id, now or datetime.now(UTC), who)


def settle_grants(context: ProjectContext, now: datetime | None = None) -> int:
    """End the grants whose time is over, and let the rights of all follow their state.

    Parameters
    ----------
    context
        The project.
    now
        The current time.

    Returns
    -------
    int
        How many grants changed.

    Raises
    ------
    RetryableError
        The ledger does not answer. A zone that is away is tried again the next time.
    """
    now = now or datetime.now(UTC)
    open_grants = context.ledger.grants.unsettled(context.project.name, now)
    if open_grants and not is_reachable(context, context.home, now):
        # The state does not wait for the zone: it is what stewards and researchers see.
        for grant in open_grants:
            _end_in_time(context, grant, now)
        return 0
    return sum(_settled(context, grant.id, now, "housekeeping") for grant in open_grants)


def move_grants(context: ProjectContext, release: str, version: int, to: int) -> None:
    """Let grants of a version that a withdrawal replaced hold for the new one.

    Parameters
    ----------
    context
        The project.
    release
        The release's name.
    version, to
        The version that is replaced, and the new one.
    """
    ledger, project = context.ledger.grants, context.project.name
    if version == to:
        return
    for grant in ledger.of_version(project, release, version):
        ledger.move(grant.id, to, "withdrawal")
        _settled(context, grant.id, datetime.now(UTC), "withdrawal")


def end_grants(context: ProjectContext, release: str, version: int) -> None:
    """End the grants of a version of which a withdrawal left nothing.

    Parameters
    ----------
    context
        The project.
    release, version
        The version.
    """
    for grant in context.ledger.grants.of_version(context.project.name, release, version):
        context.ledger.grants.end(grant.id, "withdrawal", "nothing of the release is left")
        _settled(context, grant.id, datetime.now(UTC), "withdrawal")


def _settled(context: ProjectContext, name: str, now: datetime, who: str) -> bool:
    """Let the rights of a grant follow its state; return whether they do."""
    # One at a time for each grant: rights that one sets, another would take away.
    with context.ledger.database.lock(f"pacsgrid.grant.{name}", 30) as ours:
        grant = context.ledger.grants.get(name) if ours else None
        if grant is None:
            return False
        _end_in_time(context, grant, now)
        try:
            if grant.state_at(now) is GrantState.GRANTED and grant.until is not None:
                context.ledger.grants.set_rights(name, "setting", who)
                _open(context, grant, grant.until)
                context.ledger.grants.set_rights(name, "set", who)
            elif grant.rights != "none":
                close(context.home, name, _collections(context, grant))
                context.ledger.grants.set_rights(name, "none", who)
        except ConfigError:
            raise
        except ZoneUnavailableError as error:
            log.warning("grant %s: %s; tried again by housekeeping", name, error)
            return False
        except PacsgridError as error:
            log.error("grant %s: %s; tried again by housekeeping", name, error)
            return False
    return True


def _end_in_time(context: ProjectContext, grant: Grant, now: datetime) -> None:
    if grant.state is GrantState.GRANTED and grant.state_at(now) is GrantState.ENDED:
        context.ledger.grants.end(grant.id, "clock", "its time is over")


def _open(context: ProjectContext, grant: Grant, until: datetime) -> None:
    collections = _collections(context, grant)
    open_to(context.home, grant.id, until, grant.researcher, collections)
    close(context.home, grant.id, collections, keep=grant_group(grant.id, until))


def _collections(context: ProjectContext, grant: Grant) -> list[str]:
    """Return what a grant opens: the release's documents, and the studies that it lists."""
    zone, project = context.home.settings.name, context.project.name
    ledger = context.ledger
    refs = ledger.releases.study_refs(project, grant.release, grant.version)
    left_out = ledger.releases.series_left_out(project, grant.release, grant.version)
    # What it does not list may lie beside: series that were left out, and results.
    apart = {ref for ref, _ in left_out} | ledger.results.studies_with(refs)
    found = {f"/{zone}/home/{project}/releases/{grant.release}/v{grant.version}"}
    for one in ledger.instances.places_of(refs):
        study = study_collection(zone, project, one.subject, one.study_uid, one.version)
        if one.ref not in apart:
            found.add(study)
        elif (one.ref, one.series_uid) not in left_out:
            found.add(collection(place_of_result(study, one.result), one.series_uid))
    return sorted(found)


def _check_end(until: datetime, now: datetime) -> None:
    if until.tzinfo is None:
        raise ConfigError("the end needs a time zone: write it as 2026-06-01T12:00:00Z")
    if not now < until <= now + LONGEST:
        raise ConfigError(
            "the end has passed already or is more than ten years away; choose another"
        )


def _text(value: str, what: str) -> str:
    value = value.strip()
    if not _SHORTEST_PURPOSE <= len(value) <= _LONGEST_TEXT:
        raise ConfigError(
            f"the {what} is missing, too short or too long; write {_SHORTEST_PURPOSE} to "
            f"{_LONGEST_TEXT} characters"
        )
    return value
