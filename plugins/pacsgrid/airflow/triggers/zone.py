"""Waiting until zones are back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pacsgrid.airflow.triggers.base import LookTrigger


class ZoneBackTrigger(LookTrigger):
    """Fires when each of these zones answers, and notes them as back.

    Parameters
    ----------
    zones
        Names of zones of the site file.
    poke_interval
        Seconds between two tries.
    """

    def __init__(self, zones: Sequence[str], poke_interval: float = 30.0) -> None:
        super().__init__(poke_interval)
        self.zones = list(zones)

    def wanted(self) -> dict[str, Any]:
        """Return the zones' names."""
        return {"zones": self.zones}

    def look(self) -> dict[str, Any] | None:
        """Ask each zone once."""
        from pacsgrid.config import load_site
        from pacsgrid.pipeline.waiting import unreachable_zones

        if away := unreachable_zones(load_site(), self.zones):
            self.log.info("away: %s", ", ".join(away))
            return None
        return {"zones": self.zones}
