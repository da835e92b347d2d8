"""What may be waited for: studies that are through, zones that are back, something to review.

Each asks once and returns; none needs a project's key, so that a triggerer can ask too.
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
    """Count the studies of a project, and of one source or any, that have a way to go, by state."""
    site.project(project)
    studies = Ledger(site.ledger_dsn).studies.find(project, UNFINISHED)
    return dict(Counter(s.state.value for s in studies if source in ("", s.source)))


def count_awaiting_review(site: Site, project: str, only: str = "") -> int:
    """Count the studies of a project that wait for a steward; `only` is a reason or a reference."""
    site.project(project)
    rows = Ledger(site.ledger_dsn).held.queue(project)
    return len(
        {row.ref for row in rows if row.code != REJECTED and only in ("", row.code, row.ref)}
    )


def unreachable_zones(site: Site, names: Sequence[str]) -> list[str]:
    """Ask zones now, whenever each was to be asked again; returns those that do not answer.

    A zone that answers is entered as back, so that the next upkeep does not wait to ask it.

    Raises
    ------
    ConfigError
        There is no such zone.
    ZoneError
        A zone refuses for good, as with a wrong password.
    """
    away = []
    absences = Ledger(site.ledger_dsn).absences
    for name in names:
        with Zone(site.zone(name)) as zone:
            try:
                zone.ping()
            except ZoneUnavailableError:
                away.append(name)
                continue
        absences.mark_present(name)
    return away
