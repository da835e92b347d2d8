"""Share the cores of a machine among all processes that anonymise, whatever task they work for.

Each core is a locked file. The kernel frees the lock of a process that ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.1


class CoreSlots:
    """As many slots as this process may use cores.

    Parameters
    ----------
    folder
        Folder that the processes of this machine share; it is created if need be.
    count
        How many slots there are; 0 for one per core.
    """

    def __init__(self, folder: Path, count: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._paths = [
            folder / f"core-{number}" for number in range(count or len(os.sched_getaffinity(0)))
        ]

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold a slot for the length of a ``with`` block; wait until one is free."""
        handle = self._take()
        try:
            yield
        finally:
            os.close(handle)

    def _take(self) -> int:
        pause = _FIRST_PAUSE
        while True:
            for path in self._paths:
                handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return handle
                except BlockingIOError:
                    os.close(handle)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
