"""Elements that an earlier header of the study had, byte for byte: they tell nothing new."""

from __future__ import annotations

from ..header_parser import EncodedHeader
from .bounded_cache import BoundedCache

_CHARACTER_SET = 0x00080005
# Bytes of elements remembered.
_MAX_BYTES = 1 << 26


class SeenElements:
    """Remembers elements, and the character set that they were read with."""

    def __init__(self) -> None:
        self._seen: BoundedCache[tuple[bool, bytes | None, bytes], None] = BoundedCache(_MAX_BYTES)

    def select_new(self, header: EncodedHeader, tags: list[int]) -> dict[int, bytes]:
        """Return the elements that no earlier header had, and remember them.

        Parameters
        ----------
        header
            The header.
        tags
            Public elements to consider. All private ones are considered together: an element means
            nothing without the private creator of its block (PS3.5 7.8).

        Returns
        -------
        dict of int to bytes
            Encoded elements by tag, the character set always among them, so that they can be
            decoded by themselves.
        """
        elements = header.elements
        charset = elements.get(_CHARACTER_SET)
        new = {_CHARACTER_SET: charset} if charset is not None else {}
        for tag in tags:
            if self._is_new(header.implicit, charset, elements[tag]):
                new[tag] = elements[tag]
        private = {tag: data for tag, data in elements.items() if tag & 0x10000}
        if private and self._is_new(header.implicit, charset, b"".join(private.values())):
            new.update(private)
        return new

    def _is_new(self, implicit: bool, charset: bytes | None, data: bytes) -> bool:
        key = implicit, charset, data
        if key in self._seen:
            return False
        self._seen.store(key, None, len(data))
        return True
