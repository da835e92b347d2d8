"""A header that notes what is read of it, so that a decision can be taken again without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from pydicom.datadict import tag_for_keyword

_R = TypeVar("_R")


class TrackedHeader:
    """A dataset for reading; `tags` are the top-level elements that were asked for.

    `free` are attributes that are the same for all datasets of a `DecisionCache`.
    """

    def __init__(self, ds: Any, free: frozenset[str] = frozenset()) -> None:
        self._ds = ds
        self._free = free
        self.tags: set[int] = set()

    def _note(self, key: Any) -> None:
        tag = tag_for_keyword(key) if isinstance(key, str) else int(key)
        if tag is None:
            raise AttributeError(f"{key} cannot be watched")
        self.tags.add(tag)

    def get(self, key: Any, default: Any = None) -> Any:
        """Return an element's value as `Dataset.get` does."""
        self._note(key)
        return self._ds.get(key, default)

    def __contains__(self, key: Any) -> bool:
        self._note(key)
        return key in self._ds

    def __getitem__(self, key: Any) -> Any:
        self._note(key)
        return self._ds[key]

    def __getattr__(self, name: str) -> Any:
        if name not in self._free:
            self._note(name)
        return getattr(self._ds, name)


class DecisionCache(Generic[_R]):
    """Remembers what a function of a header said, by the bytes of the elements that it read.

    The function reads them through `TrackedHeader` alone and depends on nothing else, so that for
    the same bytes it would read the same elements and say the same.
    """

    def __init__(self) -> None:
        self._said: dict[tuple[int, ...], dict[tuple[bytes | None, ...], _R]] = {}

    def find(self, elements: dict[int, bytes]) -> _R | None:
        """Return what was said of a header with such elements, None when there was none."""
        for tags, said in self._said.items():
            found = said.get(tuple([elements.get(tag) for tag in tags]))
            if found is not None:
                return found
        return None

    def take(
        self, elements: dict[int, bytes], watched: TrackedHeader, decide: Callable[[Any], _R]
    ) -> _R:
        """Decide and remember."""
        result = decide(watched)
        tags = tuple(sorted(watched.tags))
        said = self._said.setdefault(tags, {})
        said[tuple([elements.get(tag) for tag in tags])] = result
        return result
