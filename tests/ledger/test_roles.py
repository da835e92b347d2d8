"""The application's role attacks the audit trail; its owner is another."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path

import psycopg2
import pytest
import yaml

from pacsgrid.cli import main
from pacsgrid.embedded.postgres import EmbeddedPostgres
from pacsgrid.errors import ConfigError
from pacsgrid.ledger import (
    STATE_ORDER,
    ConsentRow,
    Ledger,
    migrate,
    owns_its_trail,
    prepare,
)
from pacsgrid.ledger.disclosures import Disclosure
from pacsgrid.ledger.dump import dump, load
from pacsgrid.ledger.migrate import newest
from pacsgrid.ledger.reviews import Decision, Selected
from pacsgrid.model import AnonymisedInstance, PatientPrint, StudyState
from pacsgrid.pipeline.site_check import ONE_ROLE
from pacsgrid.pipeline.site_check import _ledger as checked_ledger

APP, OWNER = "t_app", "t_owner"
REF = "st-" + "a" * 20
TRAILS = (
    *("audit", "access", "decision", "sample_verdict", "consent_change", "saved_cohort"),
    *("lookup", "read_grant_event", "result_item", "disclosure", "login_event"),
    *("review", "review_file", "review_second", "review_end"),
)


def _run(dsn: str, statement: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []


@pytest.fixture(scope="module")
def roles(postgres: EmbeddedPostgres) -> tuple[str, str]:
    """A ledger that is owned by one role and worked with by another: their connection strings."""
    for role in (APP, OWNER):
        postgres.create_role(role)
    postgres.create_database("t_roles")
    _run(postgres.dsn("postgres"), f"ALTER DATABASE t_roles OWNER TO {OWNER}")
    return postgres.dsn("t_roles", OWNER), postgres.dsn("t_roles", APP)


@pytest.fixture(scope="module")
def filled(roles: tuple[str, str]) -> tuple[str, str]:
    """The same with a study that was looked at and decided about by the application's role."""
    owner, app = roles
    assert prepare(owner, app) == newest()
    assert migrate(app) == newest()
    ledger = Ledger(app, "tester")
    ledger.studies.add_found(REF, "lung", "drop", "hash", b"sealed")
    Ledger(app).audit.add_access("anna", REF, "identity", "because of a finding")
    Ledger(app).audit.add_decision(REF, "reject", "anna", "burned in", "basic")
    ledger.consents.record("lung", [ConsentRow("S1", "hash", b"sealed", "yes")])
    ledger.saved_cohorts.save("lung", "thin", ["Modality = CT"], [], False, "anna")
    Ledger(app).audit.add_lookup("lung", "patient", 1, "anna", "because of a finding")
    _check_a_sample(ledger)
    ledger.releases.add("lung", "heads", 1, "ab", [REF])
    until = datetime.now(UTC) + timedelta(days=7)
    grant = ledger.grants.ask("lung", "heads", 1, "eva#brno", "a study of heads", until)
    ledger.grants.approve(grant, until, "anna", "")
    _take_a_result(ledger)
    ledger.logins.note("https://login.example.org", "f3a", "logged in", "")
    _make_a_rule(ledger)
    return roles


def _make_a_rule(ledger: Ledger) -> None:
    ledger.held.add(REF, "label", "look", "ab")
    rule = Decision("lung", "approve", frozenset({"label"}), "seen", "anna", needs_second=True)
    number, _ = ledger.reviews.decide(replace(rule, always=True), Selected(((REF, "ab"),)))
    assert ledger.reviews.answer(number, "otto", False)
    assert ledger.reviews.end_rule(number, "anna", "a mistake")
    assert ledger.held.remove(REF) == 1


def _check_a_sample(ledger: Ledger) -> None:
    ref = "st-" + "b" * 20
    ledger.studies.add_found(ref, "heart", "drop", "hash", b"sealed")
    made = AnonymisedInstance(
        "2.25.1", "2.25.2", "2.25.3", "S2", "CT", "4", "ab" * 32, 10, Path("x")
    )
    ledger.instances.add(ref, [made])
    for state in STATE_ORDER[1:]:
        ledger.studies.advance(ref, state)
    sample = ledger.samples.draw("heart", None, "", (0.01, 0.95), lambda population: 1, "anna")
    ledger.samples.add_verdicts(sample, "anna", [(1, "clean")])


def _take_a_result(ledger: Ledger) -> None:
    ref = "st-" + "c" * 20
    ledger.results.add(ref, "st-" + "b" * 20, "nodules", b"sealed")
    ledger.results.add_items(ref, "eva#brno", [("2.25.4", "1.2", "nodule-net")])
    what = Disclosure("heart", "S2", "2.25.1", {"1.2": 1}, "eva#brno", "C-GET", "127.0.0.1")
    ledger.disclosures.add([what], report=True)


ATTACKS = (
    "ALTER TABLE pacsgrid.{} DISABLE TRIGGER ALL",
    "ALTER TABLE pacsgrid.{0} DISABLE TRIGGER {0}_append_only",
    "DROP TRIGGER {0}_append_only ON pacsgrid.{0}",
    "DELETE FROM pacsgrid.{}",
    "UPDATE pacsgrid.{} SET at = now()",
    "TRUNCATE pacsgrid.{}",
    "DROP TABLE pacsgrid.{}",
    "ALTER TABLE pacsgrid.{0} RENAME TO other",
    "ALTER TABLE pacsgrid.{} OWNER TO CURRENT_USER",
    "GRANT ALL ON pacsgrid.{} TO CURRENT_USER; DELETE FROM pacsgrid.{}",
    "CREATE RULE away AS ON INSERT TO pacsgrid.{} DO INSTEAD NOTHING",
    "WITH gone AS (DELETE FROM pacsgrid.{} RETURNING *) SELECT * FROM gone",
    "SET session_replication_role = replica; DELETE FROM pacsgrid.{}",
    "CREATE OR REPLACE FUNCTION pacsgrid.append_only() RETURNS trigger LANGUAGE plpgsql AS "
    "$$BEGIN RETURN NULL; END$$; DELETE FROM pacsgrid.{}",
    "ALTER FUNCTION pacsgrid.append_only() RENAME TO x",
    "DROP SCHEMA pacsgrid CASCADE",
    "ALTER SCHEMA pacsgrid RENAME TO gone",
    "CREATE SCHEMA mine",
    f"SET ROLE {OWNER}; DELETE FROM pacsgrid.{{}}",
    f"GRANT {OWNER} TO {APP}; DELETE FROM pacsgrid.{{}}",
    "DELETE FROM pacsgrid.schema_version",
    "ALTER TABLE pacsgrid.study DISABLE TRIGGER ALL",
)


@pytest.mark.parametrize("trail", [*TRAILS, "audit_before"])
def test_the_application_cannot_change_what_is_append_only(
    filled: tuple[str, str], trail: str
) -> None:
    owner, app = filled
    before = _run(owner, f"SELECT * FROM pacsgrid.{trail}")
    assert before
    with closing(psycopg2.connect(app)) as connection, connection.cursor() as cursor:
        for attack in ATTACKS:
            with pytest.raises(psycopg2.Error) as refused:
                cursor.execute(attack.format(*[trail] * 3))
            assert refused.value.pgcode == "42501", (attack, refused.value)
            connection.rollback()
    assert _run(owner, f"SELECT * FROM pacsgrid.{trail}") == before
    Ledger(app).audit.add_access("anna", REF, "identity", "it still works")


def test_every_append_only_table_is_one_that_is_attacked(filled: tuple[str, str]) -> None:
    owner, app = filled
    found = _run(
        owner,
        "SELECT tgrelid::regclass::text FROM pg_trigger"
        " WHERE tgfoid = 'pacsgrid.append_only()'::regprocedure",
    )
    parts = _run(
        owner,
        "SELECT inhrelid::regclass::text FROM pg_inherits JOIN pg_class c"
        " ON c.oid = inhrelid WHERE inhparent = 'pacsgrid.audit'::regclass",
    )
    assert len(parts) >= 7  # until now, five years, the rest
    assert set(found) == {(f"pacsgrid.{name}",) for name in TRAILS} | set(parts)
    assert not owns_its_trail(app)
    assert owns_its_trail(owner)


def test_the_application_does_its_work(filled: tuple[str, str]) -> None:
    owner, app = filled
    ledger = Ledger(app, "tester")
    assert ledger.studies.state(REF) is StudyState.FOUND
    assert ledger.vault.sealed(REF) == b"sealed"
    assert ledger.audit.changes(REF)
    seen = PatientPrint(frozenset({"f"}), frozenset({"g"}), frozenset({"i"}), "", "M")
    assert ledger.patients.merge("lung", "S1", replace(seen, sex="")) == ""
    assert ledger.patients.merge("lung", "S1", seen) == ""
    assert _run(owner, "SELECT sex FROM pacsgrid.patient") == [("M",)]
    ledger.withdrawals.withdraw("lung", "S1", ["brno"])
    assert _run(owner, "SELECT * FROM pacsgrid.patient") == []


def test_the_application_may_change_every_table_but_the_trails(filled: tuple[str, str]) -> None:
    owner, _ = filled
    allowed = ("SELECT", "INSERT", "UPDATE", "DELETE")
    held = _run(
        owner,
        "SELECT c.relname, p FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,"
        f" unnest(ARRAY{list(allowed)}) p WHERE n.nspname = 'pacsgrid' AND c.relkind IN ('r', 'p')"
        f" AND NOT has_table_privilege('{APP}', c.oid, p)",
    )
    parts = _run(
        owner,
        "SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'"
        " AND relnamespace = 'pacsgrid'::regnamespace",
    )
    read = ("schema_version", "audit_part", *(name for (name,) in parts))
    kept = {(name, p) for name in read for p in allowed[1:]}
    assert set(held) == {(trail, p) for trail in TRAILS for p in allowed[2:]} | kept


def test_a_ledger_of_one_role_gets_an_owner(postgres: EmbeddedPostgres, dsn: str) -> None:
    database = str(_run(dsn, "SELECT current_database()")[0][0])
    for role in (APP, OWNER):
        postgres.create_role(role)
    _run(dsn, f'ALTER DATABASE "{database}" OWNER TO {APP}')
    owner, app = postgres.dsn(database, OWNER), postgres.dsn(database, APP)
    migrate(app)
    assert owns_its_trail(app)
    ledger = Ledger(app, "tester")
    ledger.studies.add_found(REF, "lung", "drop", "hash", b"sealed")
    with pytest.raises(ConfigError, match=f"GRANT {APP}"):
        prepare(owner, app)
    ledger = Ledger(app, "tester")
    assert ledger.studies.state(REF) is StudyState.FOUND
    _run(dsn, f"GRANT {APP} TO {OWNER}")
    prepare(owner, app)
    _run(dsn, f"REVOKE {APP} FROM {OWNER}")
    assert prepare(owner, app) == newest()
    assert not owns_its_trail(app)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        _run(app, "ALTER TABLE pacsgrid.audit DISABLE TRIGGER ALL")
    ledger = Ledger(app, "tester")
    assert ledger.studies.state(REF) is StudyState.FOUND


def test_an_older_schema_is_the_owner_s_to_change(
    filled: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, app = filled
    monkeypatch.setattr(import_module("pacsgrid.ledger.migrate"), "newest", lambda: 9999)
    with pytest.raises(ConfigError, match="pacsgrid ledger --owner-dsn-file"):
        migrate(app)


@pytest.mark.parametrize("wrong", ["the same", "superuser", "absent"])
def test_wrong_roles_are_told(
    postgres: EmbeddedPostgres, roles: tuple[str, str], wrong: str
) -> None:
    owner, app = roles
    named = {"the same": owner, "superuser": postgres.dsn("postgres"), "absent": ""}
    other = named[wrong] or app.replace(APP, "nobody_s")
    with pytest.raises(ConfigError, match=r"two roles|superuser"):
        prepare(owner, other)


def test_a_backup_of_the_application_comes_back_to_its_owner(
    filled: tuple[str, str], tmp_path: Path
) -> None:
    owner, app = filled
    file = tmp_path / "ledger.dump"
    dump(app, file)
    load(owner, file, replace=True)
    assert not _run(owner, f"SELECT has_schema_privilege('{APP}', 'pacsgrid', 'USAGE')")[0][0]
    prepare(owner, app)
    assert not owns_its_trail(app)
    ledger = Ledger(app, "tester")
    assert ledger.studies.state(REF) is StudyState.FOUND
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        _run(app, "DELETE FROM pacsgrid.audit")


def test_the_command_separates_the_roles_before_there_are_keys(
    roles: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    owner, app = roles
    for name, text in (("owner", owner), ("app", app)):
        (tmp_path / name).write_text(text + "\n")
    site = {
        **{room: f"/x/{room}" for room in ("staging", "outbox", "quarantine")},
        **{"sources": {}, "zones": {}, "projects": {}},
        **{"vault_key_file": "/x/vault.key", "ledger_dsn_file": str(tmp_path / "app")},
    }
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(site))
    command = ["ledger", "--site", str(tmp_path / "site.yaml"), "--owner-dsn-file"]
    assert main([*command, str(tmp_path / "owner")]) == 0
    assert f"version {newest()}" in capsys.readouterr().out
    assert main([*command, str(tmp_path / "app")]) == 2
    assert "two roles" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "absent")]) == 2


def test_a_site_of_one_role_works_and_is_told(dsn: str, roles: tuple[str, str]) -> None:
    owner, app = roles
    prepare(owner, app)
    migrate(dsn)
    assert ONE_ROLE in checked_ledger(dsn)
    assert ONE_ROLE not in checked_ledger(app)
