"""The checker: reads what came out, compares it with what went in, trusts neither.

It shares no code with the actions and knows nothing of their table, only what must not be
there, what must, and what must not have changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ...errors import HeldError
from ..profile import Profile
from . import files
from .compare import Comparison
from .findings import Counts
from .identity import Identity
from .reader import Header, MalformedError, read_header
from .references import References
from .search import Search


class Checker:
    """Checks the instances of one study, or of one patient, against each other's headers.

    Parameters
    ----------
    profile
        What the results were made with: it says what may stay.

    Notes
    -----
    Every source is first shown with `learn`; what one file's header knows is looked for in all
    of them. `check` remembers how each UID was replaced, so that a reference that no longer
    leads to its object is found across files. Holds identifying values in memory only.
    """

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._identity = Identity()
        self._search: Search | None = None
        self._clean: set[tuple[str, bytes]] = set()
        self.references = References()
        self.counts = Counts()

    def __repr__(self) -> str:
        return f"Checker({self._profile.name}, {self.counts.instances} instances)"

    def learn(self, sources: Iterable[Path]) -> None:
        """Take in what identifies in the headers of the study's files; unreadable ones are passed.

        An unreadable file has no result that could be checked.
        """
        for path in sources:
            try:
                header = read_header(path)
            except (MalformedError, OSError):
                continue
            self._take(header)

    def _take(self, header: Header) -> None:
        new = self._identity.add(header.meta, self._profile)
        new |= self._identity.add(header.elements, self._profile)
        if new or self._search is None:
            self._search = None
            self._clean.clear()

    def check(self, source: Path, result: Path) -> Counts:
        """Refuse a result that still identifies, or that lost what it needs; count what changed.

        Parameters
        ----------
        source, result
            The file before and after.

        Raises
        ------
        HeldError
            ``identity-left``, ``private-left``, ``required-missing``, ``reference-changed``,
            ``pixels-changed`` or ``not-clean``; the text names an element, never a value.
        """
        before, after = _read(source, "source"), _read(result, "result")
        self._take(before)
        if self._search is None:
            self._search = Search(self._identity)
        files.check_structure(after)
        files.check_name(result, self._search, self._identity)
        comparison = Comparison(
            self._profile, self._identity, self._search, self._clean, self.references
        )
        comparison.run(before, after)
        files.check_pixels(source, before, result, after, self._search)
        counts = Counts(comparison.fates, 1)
        self.counts.merge(counts)
        return counts

    def merge(self, references: References, counts: Counts) -> None:
        """Take in what another checker of the same study found.

        Raises
        ------
        HeldError
            ``reference-changed``: the two saw one UID replaced in two ways.
        """
        if not self.references.merge(references):
            raise HeldError(
                "reference-changed", "one UID was replaced in two ways within this study"
            )
        self.counts.merge(counts)


def _read(path: Path, which: str) -> Header:
    try:
        return read_header(path)
    except MalformedError as error:
        raise HeldError("not-clean", f"the {which} cannot be read back: {error}") from None


def check_file(source: Path, result: Path, profile: Profile) -> Counts:
    """Check one file by itself; see `Checker.check`."""
    return Checker(profile).check(source, result)
