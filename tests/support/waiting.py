"""Wait for a condition, never for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def wait_until(
    condition: Callable[[], _T], seconds: float = 60.0, every: float = 0.02, what: str = ""
) -> _T:
    """Ask again and again until a condition holds; return what it said then.

    Parameters
    ----------
    condition
        What to ask; it holds when it returns something true.
    seconds
        How long to wait at most. A busy machine may pause, so this is no measure of speed.
    every
        Seconds between two questions.
    what
        What is waited for, for the message.

    Raises
    ------
    AssertionError
        It did not hold in time.
    """
    end = time.monotonic() + seconds
    while not (said := condition()):
        assert time.monotonic() < end, f"{what or 'the condition'} not met in {seconds:.0f} s"
        time.sleep(every)
    return said
