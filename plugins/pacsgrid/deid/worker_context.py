"""Worker processes that know nothing of their parent's main module.

Python has such a process import the module that its parent runs as ``__main__``. Within an
Airflow task that is Airflow's own program, which cannot be imported there: a task may not
reach Airflow's database. Nothing that is done here needs it.
"""

from __future__ import annotations

import sys
from multiprocessing.context import ForkServerContext, ForkServerProcess
from types import ModuleType


class _Worker(ForkServerProcess):
    def start(self) -> None:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            super().start()
        finally:
            sys.modules["__main__"] = main


class WorkerContext(ForkServerContext):
    """Starts processes from a server, since a plain fork copies locks held by other threads.

    Parameters
    ----------
    module
        What the server imports once, so that each of its processes finds it imported.
    """

    Process = _Worker  # type: ignore[assignment]

    def __init__(self, module: str) -> None:
        super().__init__()
        self.set_forkserver_preload([module])
