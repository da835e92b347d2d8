"""A task that waits until studies have gone through the pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pacsgrid.airflow.sensors.base import PollingSensor
from pacsgrid.airflow.triggers.studies import StudiesCompleteTrigger


class StudiesCompleteSensor(PollingSensor):
    """Waits until every study of a project is verified, held or withdrawn.

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
