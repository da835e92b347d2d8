"""A trigger that waits until a source's night is over."""

from __future__ import annotations

from typing import Any

from pacsgrid.airflow.triggers.base import PollingTrigger


class NightOverTrigger(PollingTrigger):
    """Fires when a source's nightly ingest has ended, has spent its budget or is paused.

    Parameters
    ----------
    project
        A project of the site file.
    source
        The source.
    poke_interval
        Seconds between two queries of the ledger.
    """

    def __init__(self, project: str, source: str, poke_interval: float = 30.0) -> None:
        super().__init__(poke_interval)
        self.project, self.source = project, source

    def parameters(self) -> dict[str, Any]:
        """Return project and source."""
        return {"project": self.project, "source": self.source}

    def poll(self) -> dict[str, Any] | None:
        """Ask the ledger once."""
        from pacsgrid.config import load_site
        from pacsgrid.pipeline.waiting import night_is_over

        if not night_is_over(load_site(), self.project, self.source):
            return None
        return {"project": self.project}
