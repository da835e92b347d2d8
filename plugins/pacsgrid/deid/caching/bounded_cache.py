"""A dict of bounded size, emptied when it is full."""

from __future__ import annotations

from typing import TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")


class BoundedCache(dict[_K, _V]):
    """Outcomes by key. Read it as a dict, at a dict's speed; add to it with `store`.

    An LRU order would cost time on every hit. The headers of a study repeat each other, so that an
    emptied cache is full of the right entries after the next file.

    Parameters
    ----------
    limit
        Largest total size, in the unit of the sizes given to `store`.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit
        self._size = 0

    def store(self, key: _K, value: _V, size: int = 1) -> _V:
        """Add an entry, and empty the cache before if it would become too large.

        Parameters
        ----------
        key, value
            The entry.
        size
            What the entry counts: 1, or a number of bytes.

        Returns
        -------
        object
            `value`.
        """
        self._size += size
        if self._size > self._limit:
            self.clear()
            self._size = size
        self[key] = value
        return value
