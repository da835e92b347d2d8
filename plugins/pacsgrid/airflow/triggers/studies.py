"""Waiting until studies are through."""

from __future__ import annotations

from typing import Any

from pacsgrid.airflow.triggers.base import LookTrigger


class StudiesCompleteTrigger(LookTrigger):
    """Fires when no study of a project is on its way: each is verified, held or withdrawn.

    Parameters
    ----------
    project
        A project of the site file.
    source
        Only the studies of this source; empty for all.
    poke_interval
        Seconds between two looks into the ledger.
    """

    def __init__(self, project: str, source: str = "", poke_interval: float = 30.0) -> None:
        super().__init__(poke_interval)
        self.project, self.source = project, source

    def wanted(self) -> dict[str, Any]:
        """Return project and source."""
        return {"project": self.project, "source": self.source}

    def look(self) -> dict[str, Any] | None:
        """Ask the ledger once."""
        from pacsgrid.config import load_site
        from pacsgrid.pipeline.waiting import count_unfinished

        if left := count_unfinished(load_site(), self.project, self.source):
            self.log.info("%s: on their way: %s", self.project, left)
            return None
        return {"project": self.project}
