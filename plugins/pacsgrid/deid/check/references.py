"""Record how UIDs were replaced: each always by the same UID, and no two by one."""

from __future__ import annotations

from collections.abc import Iterator


class References:
    """The replacements seen so far. Original UIDs are held in memory only."""

    def __init__(self) -> None:
        self._new: dict[bytes, bytes] = {}
        self._old: dict[bytes, bytes] = {}

    def __repr__(self) -> str:
        """Return a text that holds no identifying value."""
        return f"References({len(self._new)})"

    def record(self, old: bytes, new: bytes) -> bool:
        """Record a replacement.

        Parameters
        ----------
        old
            The original UID.
        new
            The UID that replaces it.

        Returns
        -------
        bool
            False if it contradicts an earlier replacement.
        """
        return self._new.setdefault(old, new) == new and self._old.setdefault(new, old) == old

    def replaced(self) -> Iterator[tuple[str, str]]:
        """Yield each original UID and the UID that replaces it."""
        for old, new in self._new.items():
            yield old.decode("latin-1"), new.decode("latin-1")

    def merge(self, other: References) -> bool:
        """Add another record's replacements; return False if the two contradict each other."""
        return all([self.record(old, new) for old, new in other._new.items()])

    def take_all(self) -> References:
        """Return the replacements and forget them."""
        taken = References()
        taken._new, taken._old = self._new, self._old
        self._new, self._old = {}, {}
        return taken
