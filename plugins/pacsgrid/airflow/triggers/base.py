"""The base of the triggers: it polls in a thread, because ledger and zones block."""

from __future__ import annotations

import asyncio
import threading
from abc import abstractmethod
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from pacsgrid.errors import PacsgridError

# Two threads that import modules which import each other may each see a half-loaded one.
_loading = threading.Lock()


class PollingTrigger(BaseTrigger):
    """Fires once, with what `poll` returned, or with the ``error`` that ends the waiting.

    An error that is not pacsgrid's own is marked ``again``: the task may be tried again.

    Parameters
    ----------
    poke_interval
        Seconds between two polls.
    """

    def __init__(self, poke_interval: float = 30.0) -> None:
        super().__init__()
        self.poke_interval = poke_interval

    @abstractmethod
    def poll(self) -> dict[str, Any] | None:
        """Return what is waited for, or None when it is not there yet; blocks."""

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """Return the trigger's own parameters, from which Airflow makes it again."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path of the class and all its parameters; they hold names, no secret."""
        cls = type(self)
        given = {**self.parameters(), "poke_interval": self.poke_interval}
        return f"{cls.__module__}.{cls.__qualname__}", given

    def _poll(self) -> dict[str, Any] | None:
        with _loading:
            import pacsgrid.config
            import pacsgrid.pipeline.waiting  # noqa: F401
        return self.poll()

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until it is there; errors that may pass, such as a ledger that is down, are ignored.

        The sensor has just polled, so this sleeps first. There is another reason: Airflow 3.3
        fails a task as killed that is resumed before the scheduler knows that it was deferred.
        """
        while True:
            await asyncio.sleep(self.poke_interval)
            try:
                found = await asyncio.to_thread(self._poll)
            except PacsgridError as error:
                if not error.retryable:
                    yield TriggerEvent({"error": str(error)})
                    return
                self.log.warning("polling again in %g s: %s", self.poke_interval, error)
                found = None
            except Exception as error:
                # The text of another library's error may hold what must not be shown.
                text = f"unexpected {type(error).__name__}"
                yield TriggerEvent({"error": text, "again": True})
                return
            if found is not None:
                yield TriggerEvent(found)
                return
