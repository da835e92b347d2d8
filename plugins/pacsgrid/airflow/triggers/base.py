"""A trigger that looks again and again, each time in a thread: ledger and zones block."""

from __future__ import annotations

import asyncio
import threading
from abc import abstractmethod
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from pacsgrid.errors import PacsgridError

# Two threads that load modules which need each other may each find the other's half loaded.
_loading = threading.Lock()


class LookTrigger(BaseTrigger):
    """Fires once, with what `look` found, or with the ``error`` that ends the waiting.

    An error that nobody foresaw is marked ``again``: the task may be tried again.

    Parameters
    ----------
    poke_interval
        Seconds between two looks.
    """

    def __init__(self, poke_interval: float = 30.0) -> None:
        super().__init__()
        self.poke_interval = poke_interval

    @abstractmethod
    def look(self) -> dict[str, Any] | None:
        """Look once, blocking; returns what was waited for, None when it is not there yet."""

    @abstractmethod
    def wanted(self) -> dict[str, Any]:
        """Return what is waited for, as the trigger's own parameters."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return where the class is and how to make this trigger again; names, no secret."""
        cls = type(self)
        given = {**self.wanted(), "poke_interval": self.poke_interval}
        return f"{cls.__module__}.{cls.__qualname__}", given

    def _look(self) -> dict[str, Any] | None:
        with _loading:
            import pacsgrid.config
            import pacsgrid.pipeline.waiting  # noqa: F401
        return self.look()

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until it is there; what passes by itself, as a silent ledger, is waited out.

        Who waits has looked just now. Airflow 3.3 takes a task that is woken before the scheduler
        has heard that it waits for one that was killed, so the first look is not at once.
        """
        while True:
            await asyncio.sleep(self.poke_interval)
            try:
                found = await asyncio.to_thread(self._look)
            except PacsgridError as error:
                if not error.retryable:
                    yield TriggerEvent({"error": str(error)})
                    return
                self.log.warning("looking again later: %s", error)
                found = None
            except Exception as error:
                # A foreign error's text may hold what must not be shown.
                told = f"unexpected {type(error).__name__}"
                yield TriggerEvent({"error": told, "again": True})
                return
            if found is not None:
                yield TriggerEvent(found)
                return
