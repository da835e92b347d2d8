"""The checker's findings: refusals that quote no value, and counts for the study's report."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ...errors import HeldError

KEPT, REPLACED, EMPTIED, REMOVED, ADDED = "kept", "replaced", "emptied", "removed", "added"


@dataclass
class Counts:
    """How many elements were kept, replaced, emptied, removed or added.

    Attributes
    ----------
    by_tag
        The number of elements by tag and fate.
    instances
        The number of files checked.
    frames_read
        The number of frames whose pixels were read for text.
    """

    by_tag: Counter[tuple[int, str]] = field(default_factory=Counter)
    instances: int = 0
    frames_read: int = 0

    def merge(self, other: Counts) -> None:
        """Add another's counts."""
        self.by_tag.update(other.by_tag)
        self.instances += other.instances
        self.frames_read += other.frames_read

    def totals(self) -> dict[str, int]:
        """Return the number of elements by what became of them."""
        sums = Counter[str]()
        for (_, fate), count in self.by_tag.items():
            sums[fate] += count
        return {fate: sums[fate] for fate in (KEPT, REPLACED, EMPTIED, REMOVED, ADDED)}

    def tags(self) -> dict[str, dict[str, int]]:
        """Return the counts of each tag, written ``(gggg,eeee)``."""
        found: dict[str, dict[str, int]] = {}
        for (tag, fate), count in sorted(self.by_tag.items()):
            found.setdefault(format_tag(tag), {})[fate] = count
        return found


def format_tag(tag: int) -> str:
    """Return a tag in the standard's notation, ``(gggg,eeee)``."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def identity_left(where: str, what: str) -> HeldError:
    """Return the refusal of a result that still identifies the patient.

    Parameters
    ----------
    where
        The element, as `format_tag` writes it, or "the file's name".
    what
        The kind of value found there, never the value.

    Returns
    -------
    HeldError
        With the code ``identity-left``.
    """
    advice = "correct it at its origin, or remove it by an override with action X or Z"
    return HeldError(
        "identity-left", f"{where} holds {what} from the study's own headers; {advice}"
    )
