from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest

from pacsgrid.embedded.postgres import EmbeddedPostgres
from pacsgrid.errors import ConfigError, ConflictError, PacsgridError
from pacsgrid.ledger import Ledger, Vault, migrate
from pacsgrid.model import AnonymisedInstance, ReplicaProof, StudyState

INSTANCE = AnonymisedInstance("1", "2", "3", "S1", "CT", "4", "ab" * 32, 10, Path("x"))


@pytest.fixture
def ledger(dsn: str) -> Iterator[Ledger]:
    migrate(dsn)
    with Ledger(dsn, "tester") as ledger:
        ledger.found("a", "demo", "pacs", "hash", b"sealed")
        yield ledger


def test_migrations_apply_once(dsn: str) -> None:
    assert migrate(dsn) == migrate(dsn) >= 1


def test_a_study_goes_one_step_at_a_time_and_each_is_audited(ledger: Ledger) -> None:
    with pytest.raises(PacsgridError, match="cannot go from found to verified"):
        ledger.advance("a", StudyState.VERIFIED)
    ledger.advance("a", StudyState.RETRIEVED)
    ledger.advance("a", StudyState.RETRIEVED)
    with pytest.raises(PacsgridError):
        ledger.advance("a", StudyState.FOUND)
    ledger.hold("a", "truncated", "why")
    ledger.release("a")
    assert [(row.was, row.became, row.actor) for row in ledger.audit("a")] == [
        ("", "found", "tester"),
        ("found", "retrieved", "tester"),
        ("retrieved", "held", "tester"),
        ("held", "found", "tester"),
    ]


def test_finding_again_keeps_state_and_vault(ledger: Ledger) -> None:
    ledger.advance("a", StudyState.RETRIEVED)
    assert ledger.found("a", "demo", "pacs", "hash", b"other") is StudyState.RETRIEVED
    assert ledger.sealed("a") == b"sealed"


def test_same_instance_with_other_bytes_is_a_conflict(ledger: Ledger) -> None:
    assert ledger.add_instances("a", [INSTANCE]) == ["3"]
    assert ledger.add_instances("a", [INSTANCE]) == []
    other = replace(INSTANCE, sha256="cd" * 32)
    with pytest.raises(ConflictError, match=r"ab.*cd"):
        ledger.add_instances("a", [replace(INSTANCE, sop_uid="5"), other])
    assert [row.sop_uid for row in ledger.instances("a")] == ["3"]


def test_the_newest_proofs_of_a_zone_stand(ledger: Ledger) -> None:
    bad = ReplicaProof("3", "brno", "r;d1", 0, "00", False)
    good = ReplicaProof("3", "brno", "r;d1", 2, "ab", True)
    partner = ReplicaProof("3", "praha", "r", 0, "ab", True)
    ledger.add_proofs("a", [bad, partner])
    ledger.add_proofs("a", [good])
    assert ledger.proofs("a") == [good, partner]


def test_held_items_are_listed_once(ledger: Ledger) -> None:
    ledger.hold_item("a", "not-dicom", "why", "ab")
    ledger.hold_item("a", "not-dicom", "why", "ab")
    assert [(row.ref, row.whole, row.code) for row in ledger.held("demo")] == [
        ("a", False, "not-dicom")
    ]
    assert ledger.held("other") == []


def test_audit_cannot_be_changed(ledger: Ledger, dsn: str) -> None:
    with (
        psycopg2.connect(dsn) as connection,
        connection.cursor() as cursor,
        pytest.raises(psycopg2.Error, match="append-only"),
    ):
        cursor.execute("DELETE FROM pacsgrid.audit")


def test_one_worker_a_study(ledger: Ledger, dsn: str) -> None:
    with Ledger(dsn) as other, ledger.lock_study("a") as first, other.lock_study("a") as second:
        assert (first, second) == (True, False)


def test_vault_opens_with_its_key_and_reference_only() -> None:
    vault = Vault(os.urandom(32))
    sealed = vault.seal("a", {"patient_id": "760312/1234"})
    assert b"760312" not in sealed
    assert vault.open("a", sealed) == {"patient_id": "760312/1234"}
    with pytest.raises(ConfigError):
        vault.open("b", sealed)
    with pytest.raises(ConfigError):
        Vault(os.urandom(32)).open("a", sealed)
    with pytest.raises(ConfigError):
        Vault(b"short")


def test_the_server_comes_back_after_a_kill(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "pg")
    with server:
        server.create_database("ledger")
        migrate(server.dsn("ledger"))
        assert server._server is not None
        server._server.kill()
    with EmbeddedPostgres(tmp_path / "pg") as again:
        assert migrate(again.dsn("ledger")) >= 1
