"""Conditions to wait for: studies that are finished, zones that answer, something to review.

Each function asks once and returns. None needs a project's key, so that a triggerer can ask too.
"""

from __future__ import annotations

from collections.abc import Sequence

from pacsgrid.config import Site
from pacsgrid.errors import ZoneUnavailableError
from pacsgrid.grid import Zone
from pacsgrid.ledger import IngestState, Ledger
from pacsgrid.ledger.codes import CONSENT_REFUSED, REJECTED
from pacsgrid.pipeline.waves import nightly_id


def count_unfinished(site: Site, project: str, source: str = "") -> dict[str, int]:
    """Count a project's studies that are still to be processed, by state.

    Parameters
    ----------
    site
        The site settings.
    project
        The project's name.
    source
        The source of the studies; empty for any.

    Returns
    -------
    dict
        The number of studies in each state that has any.

    Raises
    ------
    ConfigError
        There is no such project.
    RetryableError
        The ledger does not answer.
    """
    site.project(project)
    return Ledger(site.ledger_dsn).worklist.count_by_state(project, source)


def night_is_over(site: Site, project: str, source: str) -> bool:
    """Return whether a source's nightly ingest has ended, or has spent its budget.

    Parameters
    ----------
    site
        The site settings.
    project, source
        Whose studies.

    Raises
    ------
    ConfigError
        There is no such project.
    RetryableError
        The ledger does not answer.
    """
    site.project(project)
    ingest = Ledger(site.ledger_dsn).ingests.get(nightly_id(project, source))
    return ingest is None or ingest.state is not IngestState.RUNNING


def count_awaiting_review(site: Site, project: str, only: str = "") -> int:
    """Count a project's studies that wait for a steward.

    Parameters
    ----------
    site
        The site settings.
    project
        The project's name.
    only
        A reason's code or a study's reference, to count only those; empty for all.

    Returns
    -------
    int
        How many studies wait; one with several reasons counts once.

    Raises
    ------
    ConfigError
        There is no such project.
    RetryableError
        The ledger does not answer.
    """
    site.project(project)
    rows = Ledger(site.ledger_dsn).held.queue(project)
    return len(
        {
            row.ref
            for row in rows
            if row.code not in (REJECTED, CONSENT_REFUSED) and only in ("", row.code, row.ref)
        }
    )


def unreachable_zones(site: Site, names: Sequence[str]) -> list[str]:
    """Return which of some zones do not answer; ask them now, however long they were away.

    A zone that answers is entered as back, so that the next maintenance asks it at once.

    Parameters
    ----------
    site
        The site settings.
    names
        The zones' names.

    Returns
    -------
    list of str
        The names of the zones that do not answer.

    Raises
    ------
    ConfigError
        There is no such zone.
    ZoneError
        A zone refuses for good, as with a wrong password.
    """
    unreachable = []
    absences = Ledger(site.ledger_dsn).absences
    for name in names:
        with Zone(site.zone(name)) as zone:
            try:
                zone.ping()
            except ZoneUnavailableError:
                unreachable.append(name)
                continue
        absences.mark_present(name)
    return unreachable
