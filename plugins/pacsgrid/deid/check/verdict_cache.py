"""Cache the checker's verdicts for values that repeat.

The headers of a series repeat most of their values. A verdict is cached under the exact bytes that
were judged, and holds for one study. The checker shares no code with the anonymiser, so it has a
cache of its own.
"""

from __future__ import annotations

from typing import TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")
# The most verdicts in one cache; a study seldom needs a tenth of them.
_MAX_VERDICTS = 100_000


class VerdictCache(dict[_K, _V]):
    """A dict of verdicts; add to it with `keep`, which empties a full cache first."""

    def keep(self, key: _K, verdict: _V) -> None:
        """Add a verdict.

        Parameters
        ----------
        key
            The exact bytes that were judged, and everything else that the verdict depends on.
        verdict
            The verdict.
        """
        if len(self) >= _MAX_VERDICTS:
            self.clear()
        self[key] = verdict
