"""The base of the sensors: the worker polls once, then the triggerer does."""

from __future__ import annotations

from abc import abstractmethod
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator
from airflow.sdk.bases.sensor import PokeReturnValue
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)

from pacsgrid.airflow.tasks import translated
from pacsgrid.errors import RetryableError

if TYPE_CHECKING:
    from airflow.sdk import Context

    from pacsgrid.airflow.triggers.base import PollingTrigger


class PollingSensor(BaseSensorOperator):
    """Waits for the condition of its trigger, and returns what the trigger found.

    Retries are for a worker or triggerer that died. A sensor whose time is up is not tried again.

    Parameters
    ----------
    deferrable
        Whether to wait in the triggerer; False waits on the worker.
    poke_interval
        Seconds between two polls.
    timeout
        Seconds after which to give up; 0 polls once.
    """

    def __init__(
        self, *, deferrable: bool = True, poke_interval: float = 30, **kwargs: Any
    ) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.deferrable = deferrable

    @abstractmethod
    def trigger(self) -> PollingTrigger:
        """Return the trigger that waits for the condition."""

    def poke(self, context: Context) -> PokeReturnValue:
        """Poll once; an error that may pass, such as a ledger that is down, counts as not yet."""
        with translated():
            try:
                found = self.trigger().poll()
            except RetryableError as error:
                self.log.warning("polling again in %g s: %s", self.poke_interval, error)
                found = None
        return PokeReturnValue(found is not None, found)

    def execute(self, context: Context) -> Any:
        """Poll once, and wait in the triggerer where the condition does not hold yet.

        Raises
        ------
        AirflowSensorTimeout
            The condition does not hold, and `timeout` is 0.
        AirflowSkipException
            The same with `soft_fail`.
        """
        if not self.deferrable:
            return super().execute(context)
        seen = self.poke(context)
        if seen.is_done:
            return seen.xcom_value
        if not self.timeout:
            text = "the condition does not hold, and timeout is 0, so this does not wait"
            raise AirflowSkipException(text) if self.soft_fail else AirflowSensorTimeout(text)
        self.defer(
            trigger=self.trigger(),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout),
        )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Return what the trigger found.

        Parameters
        ----------
        context
            Airflow's task context.
        event
            What the trigger fired with.

        Raises
        ------
        AirflowFailException
            Waiting cannot help.
        AirflowException
            An unexpected error; the sensor may be tried again.
        """
        if "error" in event:
            kind = AirflowException if event.get("again") else AirflowFailException
            raise kind(event["error"])
        return event
