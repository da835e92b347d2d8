"""Selections: patients, accessions and studies that a steward named, sealed like the vault.

A run carries only the selection's opaque name.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Any

import psycopg2

from pacsgrid.errors import ConfigError, RetryableError
from pacsgrid.ledger.vault import Vault
from pacsgrid.model import StudyQuery

PATTERN = "^sel-[0-9a-f]{20}$"
_FIELDS = ("patient_ids", "accession_numbers", "study_uids")
_LIMIT = 10_000
_WILD = set("*?\\\n\r")


@contextmanager
def _cursor(dsn: str) -> Iterator[Any]:
    try:
        connection = psycopg2.connect(dsn, connect_timeout=5)
    except psycopg2.OperationalError:
        raise RetryableError("the ledger's database does not answer") from None
    with closing(connection), connection, connection.cursor() as cursor:
        yield cursor


def checked(query: StudyQuery) -> StudyQuery:
    """Return the query without blanks and repetitions.

    Raises
    ------
    ConfigError
        It names nothing, too much, or something that would match more than one value
        (wild cards of PS3.4 C.2.2.2.4); the message does not repeat the value.
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


def keep_selection(dsn: str, vault: Vault, project: str, who: str, query: StudyQuery) -> str:
    """Seal what a steward named; returns the selection's name. Raises as `checked` does."""
    query = checked(query)
    name = f"sel-{secrets.token_hex(10)}"
    sealed = vault.seal(name, {field: "\n".join(getattr(query, field)) for field in _FIELDS})
    with _cursor(dsn) as cursor:
        cursor.execute(
            "INSERT INTO pacsgrid.selection (id, project, sealed, who) VALUES (%s, %s, %s, %s)",
            (name, project, sealed, who),
        )
    return name


def open_selection(dsn: str, vault: Vault, project: str, name: str) -> StudyQuery:
    """Return what a selection names; raises ConfigError when the project has none such."""
    with _cursor(dsn) as cursor:
        cursor.execute(
            "SELECT sealed FROM pacsgrid.selection WHERE id = %s AND project = %s", (name, project)
        )
        row = cursor.fetchone()
    if row is None:
        raise ConfigError(f"project {project} has no selection {name}; make it on the page again")
    values = vault.open(name, bytes(row[0]))
    named = {field: tuple(values[field].split("\n")) if values[field] else () for field in _FIELDS}
    return StudyQuery(
        patient_ids=named["patient_ids"],
        accession_numbers=named["accession_numbers"],
        study_uids=named["study_uids"],
    )


def forget_selections(dsn: str, older: timedelta) -> int:
    """Remove selections made longer ago than `older`; returns how many."""
    with _cursor(dsn) as cursor:
        cursor.execute("DELETE FROM pacsgrid.selection WHERE made_at < now() - %s", (older,))
        return int(cursor.rowcount)
