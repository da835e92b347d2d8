"""A task that waits until a source's night is over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pacsgrid.airflow.sensors.base import PollingSensor
from pacsgrid.airflow.triggers.night import NightOverTrigger


class NightOverSensor(PollingSensor):
    """Waits until the waves of a source's nightly ingest have ended, or its budget is spent.

    Parameters
    ----------
    project
        A project of the site file. (templated)
    source
        The source. (templated)
    """

    template_fields: Sequence[str] = ("project", "source")

    def __init__(self, *, project: str, source: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.project = project
        self.source = source

    def trigger(self) -> NightOverTrigger:
        """Return the trigger for this source."""
        return NightOverTrigger(self.project, self.source, self.poke_interval)
