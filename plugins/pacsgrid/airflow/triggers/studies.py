"""A trigger that waits until studies have gone through the pipeline."""

from __future__ import annotations

from typing import Any

from pacsgrid.airflow.triggers.base import PollingTrigger


class StudiesCompleteTrigger(PollingTrigger):
    """Fires when every study of a project is verified, held or withdrawn.

    Parameters
    ----------
    project
        A project of the site file.
    source
        Only the studies of this source; empty for all.
    poke_interval
        Seconds between two queries of the ledger.
    """

    def __init__(self, project: str, source: str = "", poke_interval: float = 30.0) -> None:
        super().__init__(poke_interval)
        self.project, self.source = project, source

    def parameters(self) -> dict[str, Any]:
        """Return project and source."""
        return {"project": self.project, "source": self.source}

    def poll(self) -> dict[str, Any] | None:
        """Ask the ledger once."""
        from pacsgrid.config import load_site
        from pacsgrid.pipeline.waiting import count_unfinished

        if left := count_unfinished(load_site(), self.project, self.source):
            self.log.info("%s: studies still in the pipeline: %s", self.project, left)
            return None
        return {"project": self.project}
