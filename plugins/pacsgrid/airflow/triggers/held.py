"""A trigger that waits until there are held studies to review."""

from __future__ import annotations

from typing import Any

from pacsgrid.airflow.triggers.base import PollingTrigger


class HeldQueueTrigger(PollingTrigger):
    """Fires when studies of a project wait for a steward.

    Parameters
    ----------
    project
        A project of the site file.
    only
        Only studies held for this reason, or the study with this reference; empty for all.
    at_least
        How many studies must wait.
    poke_interval
        Seconds between two queries of the ledger.
    """

    def __init__(
        self, project: str, only: str = "", at_least: int = 1, poke_interval: float = 30.0
    ) -> None:
        super().__init__(poke_interval)
        self.project, self.only, self.at_least = project, only, at_least

    def parameters(self) -> dict[str, Any]:
        """Return project, reason and number."""
        return {"project": self.project, "only": self.only, "at_least": self.at_least}

    def poll(self) -> dict[str, Any] | None:
        """Ask the ledger once."""
        from pacsgrid.config import load_site
        from pacsgrid.pipeline.waiting import count_awaiting_review

        waiting = count_awaiting_review(load_site(), self.project, self.only)
        return {"studies": waiting} if waiting >= self.at_least else None
