"""Worker processes that do not import their parent's main module.

By default a worker imports the module that its parent runs as ``__main__``. In an Airflow task this
is Airflow's own program, whose import fails there, because a task may not reach Airflow's database.
The work done here does not need it.
"""

from __future__ import annotations

import sys
from multiprocessing.context import ForkServerContext, ForkServerProcess
from types import ModuleType

# Modules that the server imports for its processes. They take a second of a processor, so that the
# rest of the package imports them in its functions: most of Airflow's tasks anonymise nothing.
_LARGE = ("pydicom.sr", "onnxruntime")


class _Worker(ForkServerProcess):
    def start(self) -> None:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            super().start()
        finally:
            sys.modules["__main__"] = main


class WorkerContext(ForkServerContext):
    """Starts processes from a fork server: a plain fork copies locks held by other threads.

    Parameters
    ----------
    module
        Module that the server imports once for all of its processes.
    """

    Process = _Worker  # type: ignore[assignment]

    def __init__(self, module: str) -> None:
        super().__init__()
        self.set_forkserver_preload([module, *_LARGE])
