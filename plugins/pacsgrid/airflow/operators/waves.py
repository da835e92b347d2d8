"""The operators at both ends of `ingest_studies`: a wave is claimed, and the next one started."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    DagRunTriggerException,
)

from pacsgrid.airflow import tasks
from pacsgrid.airflow.pools import SOURCES
from pacsgrid.airflow.triggers.zone import ZoneBackTrigger
from pacsgrid.config import site_names

if TYPE_CHECKING:
    from airflow.sdk import Context

# How long a wave waits for the home zone; the next night takes what is left then.
ZONE_WAIT = timedelta(hours=10)


def is_over(run: str) -> bool:
    """Return whether a run of `ingest_studies` has ended or was deleted."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    running = RuntimeTaskInstance.get_dr_count(
        "ingest_studies", run_ids=[run], states=["queued", "running"]
    )
    return int(running) == 0


class FindWaveOperator(BaseOperator):
    """Asks a source for what the run wants, and claims the run's wave of it.

    A wave that continues an ingest waits, in the triggerer, until the project's home zone
    answers. Returns batches of references.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"pool": SOURCES, **kwargs})

    def execute(self, context: Context) -> list[list[str]]:
        """Claim the wave, or wait for the zone."""
        params = context["params"]
        if params.get("ingest") and not tasks.home_answers(params):
            home = site_names().homes[params["project"]]
            self.log.info("zone %s does not answer: the wave waits for it", home)
            self.defer(trigger=ZoneBackTrigger([home]), method_name="resume", timeout=ZONE_WAIT)
        return self._claim(context)

    def resume(self, context: Context, event: dict[str, Any]) -> list[list[str]]:
        """Claim the wave once the zone answers.

        Parameters
        ----------
        context
            The task's context.
        event
            What the trigger tells.

        Returns
        -------
        list of list of str
            Batches of references.
        """
        if error := event.get("error"):
            raise (AirflowException if event.get("again") else AirflowFailException)(error)
        return self._claim(context)

    def _claim(self, context: Context) -> list[list[str]]:
        return tasks.find_wave(context["params"], context["run_id"], is_over)


class NextWaveOperator(BaseOperator):
    """Ends the run's wave, and starts the run of the next one if there is more to do.

    The next run's id is made of the ingest and the wave's number, so that it starts once however
    often this task is tried.

    It is no `TriggerDagRunOperator`, whose module takes every task of this DAG most of a second to
    import.

    Parameters
    ----------
    batches
        What the task that claimed the wave returned. (templated)
    """

    template_fields: Sequence[str] = ("batches",)

    def __init__(self, *, batches: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.batches = batches

    def execute(self, context: Context) -> None:
        """End the wave; skip the task when no wave follows."""
        params = context["params"]
        refs = [ref for batch in self.batches or () for ref in batch]
        following = tasks.next_wave(params, context["run_id"], refs)
        if following is None:
            raise AirflowSkipException("no wave follows")
        run_id, ingest = following
        conf = {"source": params["source"], "project": params["project"], "ingest": ingest}
        if profile := params.get("profile"):
            conf["profile"] = profile
        raise DagRunTriggerException(
            trigger_dag_id="ingest_studies",
            dag_run_id=run_id,
            conf=conf,
            logical_date=None,  # two runs of one logical date would be one
            reset_dag_run=False,
            skip_when_already_exists=True,
            wait_for_completion=False,
            allowed_states=[],
            failed_states=[],
            poke_interval=0,
            deferrable=False,
        )
