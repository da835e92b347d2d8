"""A task that waits until zones are back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pacsgrid.airflow.sensors.base import LookSensor
from pacsgrid.airflow.triggers.zone import ZoneBackTrigger


class ZoneBackSensor(LookSensor):
    """Waits until each of these zones answers.

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
