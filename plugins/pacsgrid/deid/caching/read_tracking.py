"""Decisions about headers, reused for every header that has the same bytes where it matters.

A decision is taken on a `TrackedHeader`, which notes the elements that are read. Another header in
which these elements have the same bytes would lead to the same decision, so `DecisionCache` returns
the earlier one without decoding anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from pydicom.datadict import tag_for_keyword

from .bounded_cache import BoundedCache

_R = TypeVar("_R")
# Decisions of one study for each set of elements that was read.
_MAX_DECISIONS = 10_000


class TrackedHeader:
    """A dataset to read from that notes which elements were asked for.

    Attributes
    ----------
    tags : set of int
        Top-level elements asked for so far, whether the dataset has them or not.
    """

    def __init__(self, ds: Any) -> None:
        self._ds = ds
        self.tags: set[int] = set()

    def _note(self, key: Any) -> None:
        tag = tag_for_keyword(key) if isinstance(key, str) else int(key)
        if tag is None:
            raise AttributeError(f"{key} is no keyword of an element, so that it cannot be tracked")
        self.tags.add(tag)

    def get(self, key: Any, default: Any = None) -> Any:
        """Return an element's value as `Dataset.get` does.

        Parameters
        ----------
        key
            Keyword or tag.
        default
            What to return when there is no such element.

        Returns
        -------
        object
            The value for a keyword, the element for a tag.

        Raises
        ------
        AttributeError
            The keyword is not in the dictionary of PS3.6.
        """
        self._note(key)
        return self._ds.get(key, default)

    def __contains__(self, key: Any) -> bool:
        """Return whether the dataset has an element, and note that it was asked for."""
        self._note(key)
        return key in self._ds

    def __getitem__(self, key: Any) -> Any:
        """Return an element, and note that it was asked for."""
        self._note(key)
        return self._ds[key]

    def __getattr__(self, name: str) -> Any:
        """Return the value of an element by its keyword, and note that it was asked for."""
        self._note(name)
        return getattr(self._ds, name)


class DecisionCache(Generic[_R]):
    """Results of one function of a header, by the bytes of the elements that it read.

    The function must read the header through `TrackedHeader` alone and depend on nothing else.
    """

    def __init__(self) -> None:
        # Which elements are read depends on what stands in them, so there are a few sets of tags.
        self._by_tags: dict[tuple[int, ...], BoundedCache[tuple[bytes | None, ...], _R]] = {}

    def find(self, elements: dict[int, bytes]) -> _R | None:
        """Return the decision taken for a header with the same bytes.

        Parameters
        ----------
        elements
            Encoded top-level elements of the header, by tag.

        Returns
        -------
        object or None
            None when no earlier header had the same bytes.
        """
        for tags, results in self._by_tags.items():
            found = results.get(tuple([elements.get(tag) for tag in tags]))
            if found is not None:
                return found
        return None

    def decide(
        self, elements: dict[int, bytes], header: TrackedHeader, function: Callable[[Any], _R]
    ) -> _R:
        """Take a decision and keep it.

        Parameters
        ----------
        elements
            Encoded top-level elements of the header, by tag.
        header
            The same header, decoded; nothing was read from it yet.
        function
            Takes the decision.

        Returns
        -------
        object
            What `function` returned. When it raises, nothing is kept.
        """
        result = function(header)
        tags = tuple(sorted(header.tags))
        results = self._by_tags.setdefault(tags, BoundedCache(_MAX_DECISIONS))
        return results.store(tuple([elements.get(tag) for tag in tags]), result)
