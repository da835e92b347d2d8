"""What the sensors share: a first look on the worker, then the triggerer looks."""

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

    from pacsgrid.airflow.triggers.base import LookTrigger


class LookSensor(BaseSensorOperator):
    """Waits for what its trigger looks for, and returns what that found.

    Retries are for a worker or a triggerer that died; time that is up is never tried again.

    Parameters
    ----------
    deferrable
        Whether to wait in the triggerer; False waits on the worker.
    poke_interval, timeout
        Seconds between two looks, and after which to give up; 0 looks once.
    """

    def __init__(
        self, *, deferrable: bool = True, poke_interval: float = 30, **kwargs: Any
    ) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.deferrable = deferrable

    @abstractmethod
    def trigger(self) -> LookTrigger:
        """Return the trigger that looks for it."""

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once; what may pass by itself, as a ledger that is down, is not there yet."""
        with translated():
            try:
                found = self.trigger().look()
            except RetryableError as error:
                self.log.warning("looking again later: %s", error)
                found = None
        return PokeReturnValue(found is not None, found)

    def execute(self, context: Context) -> Any:
        """Look; wait where it is not there yet."""
        if not self.deferrable:
            return super().execute(context)
        seen = self.poke(context)
        if seen.is_done:
            return seen.xcom_value
        if not self.timeout:
            told = "it is not there, and there is no time to wait"
            raise AirflowSkipException(told) if self.soft_fail else AirflowSensorTimeout(told)
        self.defer(
            trigger=self.trigger(),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout),
        )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Return what the trigger found; fails with what is wrong when waiting is of no use."""
        if "error" in event:
            kind = AirflowException if event.get("again") else AirflowFailException
            raise kind(event["error"])
        return event
