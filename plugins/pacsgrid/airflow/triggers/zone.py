"""A trigger that waits until zones answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pacsgrid.airflow.triggers.base import PollingTrigger


class ZoneBackTrigger(PollingTrigger):
    """Fires when each of some zones answers, and records in the ledger that they do.

    Parameters
    ----------
    zones
        Names of zones of the site file.
    poke_interval
        Seconds between two attempts.
    """

    def __init__(self, zones: Sequence[str], poke_interval: float = 30.0) -> None:
        super().__init__(poke_interval)
        self.zones = list(zones)

    def parameters(self) -> dict[str, Any]:
        """Return the zones' names."""
        return {"zones": self.zones}

    def poll(self) -> dict[str, Any] | None:
        """Ask each zone once."""
        from pacsgrid.config import load_site
        from pacsgrid.pipeline.waiting import unreachable_zones

        if away := unreachable_zones(load_site(), self.zones):
            self.log.info("zones that do not answer: %s", ", ".join(away))
            return None
        return {"zones": self.zones}
