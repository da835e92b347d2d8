"""A task that waits until zones answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pacsgrid.airflow.sensors.base import PollingSensor
from pacsgrid.airflow.triggers.zone import ZoneBackTrigger


class ZoneBackSensor(PollingSensor):
    """Waits until each of some zones answers.

    Parameters
    ----------
    zones
        Names of zones of the site file. (templated)
    """

    template_fields: Sequence[str] = ("zones",)

    def __init__(self, *, zones: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.zones = zones

    def trigger(self) -> ZoneBackTrigger:
        """Return the trigger for these zones."""
        return ZoneBackTrigger(self.zones, self.poke_interval)
