"""Conditions to wait for: studies that are finished, zones that answer, something to review.

Each function asks once and returns. None needs a project's key, so that a triggerer can ask too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pacsgrid.config import Site
from pacsgrid.errors import ZoneUnavailableError
from pacsgrid.grid import Zone
from pacsgrid.ledger import Ledger
from pacsgrid.ledger.codes import REJECTED
from pacsgrid.model import StudyState
from pacsgrid.pipeline.find import FINISHED

UNFINISHED = tuple(state for state in StudyState if state not in FINISHED)


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
    studies = Ledger(site.ledger_dsn).studies.find(project, UNFINISHED)
    return dict(Counter(s.state.value for s in studies if source in ("", s.source)))


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
        {row.ref for row in rows if row.code != REJECTED and only in ("", row.code, row.ref)}
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
