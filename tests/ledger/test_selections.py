"""What a steward names is sealed, and is found again only with the vault's key."""

from __future__ import annotations

from datetime import timedelta

import psycopg2
import pytest

from pacsgrid.errors import ConfigError
from pacsgrid.ledger import Ledger, Vault
from pacsgrid.model import StudyQuery

VAULT = Vault(b"k" * 32)


def test_a_selection_comes_back_whole_and_stands_sealed(dsn: str) -> None:
    selections = Ledger(dsn).selections
    wanted = StudyQuery(patient_ids=(" 756203/1234 ", "756203/1234", ""), study_uids=("1.2.3",))
    name = selections.add(VAULT, "lung", "steward", wanted)
    assert selections.open(VAULT, "lung", name) == StudyQuery(
        patient_ids=("756203/1234",), study_uids=("1.2.3",)
    )
    with psycopg2.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT selection::text, sealed FROM pacsgrid.selection")
        text, sealed = cursor.fetchone() or ("", b"")
    assert "756203" not in text and b"756203" not in bytes(sealed)
    with pytest.raises(ConfigError, match="has no selection"):
        selections.open(VAULT, "brain", name)
    with pytest.raises(ConfigError, match="vault key"):
        selections.open(Vault(b"o" * 32), "lung", name)
    assert selections.remove_older(timedelta(days=1)) == 0
    assert selections.remove_older(timedelta(0)) == 1


@pytest.mark.parametrize(
    "query",
    [
        StudyQuery(),
        StudyQuery(patient_ids=("7562*",)),
        StudyQuery(patient_ids=("756?03",)),
        StudyQuery(accession_numbers=("a\\b",)),
        StudyQuery(accession_numbers=("x" * 65,)),
        StudyQuery(study_uids=("1.2.x7562",)),
        StudyQuery(patient_ids=tuple(map(str, range(10_001)))),
    ],
)
def test_what_would_match_more_than_it_names_is_refused(dsn: str, query: StudyQuery) -> None:
    with pytest.raises(ConfigError) as caught:
        Ledger(dsn).selections.add(VAULT, "lung", "steward", query)
    assert "7562" not in str(caught.value)
