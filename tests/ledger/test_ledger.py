from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest

from pacsgrid.embedded.postgres import EmbeddedPostgres
from pacsgrid.errors import ConfigError, ConflictError, PacsgridError
from pacsgrid.ledger import Ledger, Vault, migrate
from pacsgrid.model import AnonymisedInstance, ReplicaProof, StudyState
from support.seeded import seeded_bytes

INSTANCE = AnonymisedInstance("1", "2", "3", "S1", "CT", "4", "ab" * 32, 10, Path("x"))


def test_migrations_apply_once(dsn: str) -> None:
    assert migrate(dsn) == migrate(dsn) >= 1


def test_a_study_goes_one_step_at_a_time_and_each_is_audited(ledger: Ledger) -> None:
    with pytest.raises(PacsgridError, match="cannot go from found to verified"):
        ledger.studies.advance("a", StudyState.VERIFIED)
    ledger.studies.advance("a", StudyState.RETRIEVED)
    ledger.studies.advance("a", StudyState.RETRIEVED)
    with pytest.raises(PacsgridError):
        ledger.studies.advance("a", StudyState.FOUND)
    ledger.studies.hold("a", "truncated", "why")
    ledger.studies.unhold("a")
    assert [(row.was, row.became, row.actor) for row in ledger.audit.changes("a")] == [
        ("", "found", "tester"),
        ("found", "retrieved", "tester"),
        ("retrieved", "held", "tester"),
        ("held", "found", "tester"),
    ]


def test_finding_again_keeps_state_and_vault(ledger: Ledger) -> None:
    ledger.studies.advance("a", StudyState.RETRIEVED)
    assert ledger.studies.add_found("a", "demo", "pacs", "hash", b"other") is StudyState.RETRIEVED
    assert ledger.vault.sealed("a") == b"sealed"


def test_same_instance_with_other_bytes_is_a_conflict(ledger: Ledger) -> None:
    assert ledger.instances.add("a", [INSTANCE]) == ["3"]
    assert ledger.instances.add("a", [INSTANCE]) == []
    other = replace(INSTANCE, sha256="cd" * 32)
    with pytest.raises(ConflictError, match=r"ab.*cd"):
        ledger.instances.add("a", [replace(INSTANCE, sop_uid="5"), other])
    assert [row.sop_uid for row in ledger.instances.of_study("a")] == ["3"]


def test_the_newest_proofs_of_a_zone_stand(ledger: Ledger) -> None:
    bad = ReplicaProof("3", "brno", "r;d1", 0, "00", False)
    good = ReplicaProof("3", "brno", "r;d1", 2, "ab", True)
    partner = ReplicaProof("3", "praha", "r", 0, "ab", True)
    ledger.proofs.add("a", [bad, partner])
    ledger.proofs.add("a", [good])
    assert ledger.proofs.of_study("a") == [good, partner]


def test_held_items_are_listed_once(ledger: Ledger) -> None:
    ledger.held.add("a", "not-dicom", "why", "ab")
    ledger.held.add("a", "not-dicom", "why", "ab")
    assert [(row.ref, row.whole, row.code) for row in ledger.held.queue("demo")] == [
        ("a", False, "not-dicom")
    ]
    assert ledger.held.queue("other") == []


def test_audit_cannot_be_changed(ledger: Ledger, dsn: str) -> None:
    with (
        psycopg2.connect(dsn) as connection,
        connection.cursor() as cursor,
        pytest.raises(psycopg2.Error, match="append-only"),
    ):
        cursor.execute("DELETE FROM pacsgrid.audit")


def test_one_worker_a_study(ledger: Ledger, dsn: str) -> None:
    other = Ledger(dsn)
    with ledger.studies.lock("a") as first, other.studies.lock("a") as second:
        assert (first, second) == (True, False)


def test_vault_opens_with_its_key_and_reference_only() -> None:
    vault = Vault(seeded_bytes(32, 1))
    sealed = vault.seal("a", {"patient_id": "760312/1234"})
    assert b"760312" not in sealed
    assert vault.open("a", sealed) == {"patient_id": "760312/1234"}
    with pytest.raises(ConfigError):
        vault.open("b", sealed)
    with pytest.raises(ConfigError):
        Vault(seeded_bytes(32, 2)).open("a", sealed)
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
