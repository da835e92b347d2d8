"""Selections: patients, accessions and studies that a steward named, sealed like vault entries.

An Airflow run carries only the selection's opaque name.
"""

from __future__ import annotations

import secrets
from datetime import timedelta

from pacsgrid.errors import ConfigError
from pacsgrid.ledger.database import Store
from pacsgrid.ledger.vault import Vault
from pacsgrid.model import StudyQuery

_FIELDS = ("patient_ids", "accession_numbers", "study_uids")
_LIMIT = 10_000
_WILD = set("*?\\\n\r")


def _checked(query: StudyQuery) -> StudyQuery:
    """Return the query without blank and repeated values.

    Raises
    ------
    ConfigError
        It names nothing, too much, or something that would match more than one value
        (wild cards of PS3.4 C.2.2.2.4). The message does not repeat the value.
    """
    clean: dict[str, tuple[str, ...]] = {}
    for field in _FIELDS:
        values = tuple(dict.fromkeys(v.strip() for v in getattr(query, field) if v.strip()))
        for number, value in enumerate(values, 1):
            if len(value) > 64 or _WILD & set(value) or not value.isprintable():
                raise ConfigError(
                    f"{field}, entry {number}: at most 64 characters, no *, ? or backslash"
                )
            if field == "study_uids" and not set(value) <= set("0123456789."):
                raise ConfigError(f"{field}, entry {number}: a UID has digits and dots only")
        clean[field] = values
    if not 0 < sum(map(len, clean.values())) <= _LIMIT:
        raise ConfigError(f"a selection names 1 to {_LIMIT} patients, accessions and studies")
    return StudyQuery(
        patient_ids=clean["patient_ids"],
        accession_numbers=clean["accession_numbers"],
        study_uids=clean["study_uids"],
    )


class Selections(Store):
    """Sealed selections, by their opaque names."""

    def add(self, vault: Vault, project: str, who: str, query: StudyQuery) -> str:
        """Seal what a steward named.

        Parameters
        ----------
        vault
            Seals the selection.
        project
            The project that the studies are taken into.
        who
            The steward's name.
        query
            Patient IDs, accession numbers and study instance UIDs.

        Returns
        -------
        str
            The selection's opaque name.

        Raises
        ------
        ConfigError
            The query names nothing, too much, or something with a wild card.
        """
        query = _checked(query)
        name = f"sel-{secrets.token_hex(10)}"
        sealed = vault.seal(name, {field: "\n".join(getattr(query, field)) for field in _FIELDS})
        self._database.run(
            "INSERT INTO pacsgrid.selection (id, project, sealed, who) VALUES (%s, %s, %s, %s)",
            (name, project, sealed, who),
        )
        return name

    def open(self, vault: Vault, project: str, name: str) -> StudyQuery:
        """Return what a selection names.

        Parameters
        ----------
        vault
            Sealed it.
        project
            The project that it was made for.
        name
            What `add` returned.

        Raises
        ------
        ConfigError
            The project has no such selection, or the vault's key is another one.
        """
        rows = self._database.all(
            "SELECT sealed FROM pacsgrid.selection WHERE id = %s AND project = %s", (name, project)
        )
        if not rows:
            raise ConfigError(
                f"project {project} has no selection {name}; make it on the page again"
            )
        values = vault.open(name, bytes(rows[0][0]))
        named = {
            field: tuple(values[field].split("\n")) if values[field] else () for field in _FIELDS
        }
        return StudyQuery(
            patient_ids=named["patient_ids"],
            accession_numbers=named["accession_numbers"],
            study_uids=named["study_uids"],
        )

    def maker(self, name: str) -> str:
        """Return who made a selection; empty for one that does not exist."""
        rows = self._database.all("SELECT who FROM pacsgrid.selection WHERE id = %s", (name,))
        return str(rows[0][0]) if rows else ""

    def remove_older(self, age: timedelta) -> int:
        """Remove selections that were made longer than `age` ago; return how many."""
        return self._database.run(
            "DELETE FROM pacsgrid.selection WHERE made_at < now() - %s", (age,)
        )
