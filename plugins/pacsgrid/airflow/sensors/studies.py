"""A task that waits until studies are through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pacsgrid.airflow.sensors.base import LookSensor
from pacsgrid.airflow.triggers.studies import StudiesCompleteTrigger


class StudiesCompleteSensor(LookSensor):
    """Waits until no study of a project is on its way: each is verified, held or withdrawn.

    Parameters
    ----------
    project
        A project of the site file. (templated)
    source
        Only the studies of this source; empty for all. (templated)
    """

    template_fields: Sequence[str] = ("project", "source")

    def __init__(self, *, project: str, source: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.project = project
        self.source = source

    def trigger(self) -> StudiesCompleteTrigger:
        """Return the trigger for these studies."""
        return StudiesCompleteTrigger(self.project, self.source, self.poke_interval)
