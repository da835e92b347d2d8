"""Verdicts of the checker, reused for the same bytes.

The headers of a series repeat each other, so that most values were judged before. A verdict is kept
under the exact bytes that it was reached from, and holds for one study. The checker shares no code
with what it checks: the anonymiser's caches are others (`deid.caching`).
"""

from __future__ import annotations

from typing import TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")
# Verdicts kept of one kind; a study seldom has a tenth of them.
_MAX_VERDICTS = 100_000


class VerdictCache(dict[_K, _V]):
    """Verdicts by what they were reached from. Read it as a dict; add with `keep`.

    A full cache is emptied: what is asked again is judged again.
    """

    def keep(self, key: _K, verdict: _V) -> None:
        """Add a verdict.

        Parameters
        ----------
        key
            The exact bytes that were judged, and what else the verdict depends on.
        verdict
            The verdict.
        """
        if len(self) >= _MAX_VERDICTS:
            self.clear()
        self[key] = verdict
