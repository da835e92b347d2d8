"""Settings that are completed at first use, because an Airflow connection must be looked up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

_T = TypeVar("_T")


class DeferredSettings(Mapping[str, _T]):
    """Settings by name; those given as a function are made at first use, and kept.

    A site file with connections can so be read where Airflow's connections cannot, and a task
    asks only for the connection it uses.

    Parameters
    ----------
    known
        The settings by name, or the function that makes them.
    """

    def __init__(self, known: Mapping[str, _T | Callable[[], _T]]) -> None:
        self._known = dict(known)

    def __getitem__(self, name: str) -> _T:
        """Return the settings of a name, and make them if this is the first use."""
        value = self._known[name]
        if callable(value):
            value = self._known[name] = value()
        return value

    def __iter__(self) -> Iterator[str]:
        """Return the names; this makes no settings."""
        return iter(self._known)

    def __len__(self) -> int:
        """Return the number of names."""
        return len(self._known)


def defer(connection: str, make: Callable[[], _T]) -> _T | Callable[[], _T]:
    """Return settings made now, or the function that makes them when they need a connection.

    Parameters
    ----------
    connection
        The Airflow connection that the settings name; empty for none.
    make
        Makes the settings.
    """
    return make if connection else make()
