"""Search collections by their AVUs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from irods.column import Like
from irods.models import Collection, CollectionMeta

from pacsgrid.errors import ConfigError
from pacsgrid.grid.zone import Zone


@dataclass(frozen=True)
class Criterion:
    """An AVU's attribute and the value it must have; ``%`` in the value matches anything."""

    attribute: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Criterion:
        """Parse ``ATTRIBUTE=VALUE``; raise ConfigError when a part is missing."""
        attribute, equals, value = text.partition("=")
        if not (attribute and equals and value):
            raise ConfigError(f"{text!r} is not a criterion; write one such as Modality=CT")
        return cls(attribute, value)


def search(zone: Zone, root: str, criteria: Sequence[Criterion]) -> list[str]:
    """Return the collections that have an AVU for every criterion.

    Parameters
    ----------
    zone
        The zone to search.
    root
        The collection to search below.
    criteria
        What a collection must match; without any, nothing is found.

    Returns
    -------
    list of str
        Their paths, sorted.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    found: set[str] | None = None
    for one in criteria:
        # GenQuery joins a table only once, so each criterion is a query of its own.
        matches = (
            Like(CollectionMeta.value, one.value)
            if "%" in one.value
            else CollectionMeta.value == one.value
        )
        names = {
            row[Collection.name]
            for row in zone.rows(
                (Collection.name,),
                Like(Collection.name, f"{root.rstrip('/')}/%"),
                CollectionMeta.name == one.attribute,
                matches,
            )
        }
        found = names if found is None else found & names
    return sorted(found or ())
