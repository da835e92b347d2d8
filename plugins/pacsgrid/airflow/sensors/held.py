"""A task that waits until there are held studies to review."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pacsgrid.airflow.sensors.base import PollingSensor
from pacsgrid.airflow.triggers.held import HeldQueueTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context


class HeldQueueSensor(PollingSensor):
    """Waits until studies of a project wait for a steward.

    Parameters
    ----------
    project
        A project of the site file. (templated)
    only
        Only studies held for this reason, or the study with this reference; empty for all.
        (templated)
    at_least
        How many studies must wait.
    wait_hours
        Hours after which to give up, instead of `timeout`; 0 polls once. (templated)
    """

    template_fields: Sequence[str] = ("project", "only", "wait_hours")

    def __init__(
        self,
        *,
        project: str,
        only: str = "",
        at_least: int = 1,
        wait_hours: float | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.project = project
        self.only = only
        self.at_least = at_least
        self.wait_hours = wait_hours

    def execute(self, context: Context) -> Any:
        """Poll once, and wait for `wait_hours` where nothing is held."""
        if self.wait_hours is not None:
            self.timeout = float(self.wait_hours) * 3600
        return super().execute(context)

    def trigger(self) -> HeldQueueTrigger:
        """Return the trigger for this queue."""
        return HeldQueueTrigger(self.project, self.only, self.at_least, self.poke_interval)
