"""The audit trail in parts: migrated from one table, extended, and moved into files by years."""

from __future__ import annotations

import csv
import gzip
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from importlib import import_module
from pathlib import Path

import psycopg2
import pytest
import yaml

from pacsgrid.cli import main
from pacsgrid.embedded.postgres import EmbeddedPostgres
from pacsgrid.errors import RetryableError
from pacsgrid.ledger import Ledger, archive_trail, migrate, prepare
from pacsgrid.ledger.migrate import _scripts

REF = "st-" + "a" * 20
FAR = datetime.now(UTC) + timedelta(days=800)


def _run(dsn: str, statement: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []


def _parts(dsn: str) -> dict[str, int]:
    rows = _run(
        dsn,
        "SELECT relname, count(*) FROM pacsgrid.audit a JOIN pg_class c"
        " ON c.oid = a.tableoid GROUP BY 1",
    )
    return {str(name): int(str(count)) for name, count in rows}


def test_a_trail_of_one_table_becomes_the_part_of_the_past(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = import_module("pacsgrid.ledger.migrate")
    scripts = _scripts()
    old = [one for one in scripts if int(one.name[:4]) < 30]
    monkeypatch.setattr(module, "_scripts", lambda: old)
    migrate(dsn)
    ledger = Ledger(dsn, "tester")
    ledger.studies.add_found(REF, "lung", "drop", "hash", b"sealed")
    before = _run(dsn, "SELECT * FROM pacsgrid.audit")
    monkeypatch.setattr(module, "_scripts", lambda: scripts)
    filled = _run(dsn, "SELECT pg_relation_filenode('pacsgrid.audit')")
    migrate(dsn)
    assert _run(dsn, "SELECT * FROM pacsgrid.audit") == before
    # The rows were not written again, and nobody read them to attach the part.
    assert _run(dsn, "SELECT pg_relation_filenode('pacsgrid.audit_before')") == filled
    ledger.studies.hold(REF, "label", "look")
    first, second = ledger.audit.changes(REF)
    assert (first.became, second.became) == ("found", "held")
    assert _parts(dsn) == {"audit_before": 2}
    assert ledger.consistency.violations("lung") == []


@pytest.fixture
def trail(dsn: str) -> str:
    """A ledger whose owner is the database's superuser, with a study."""
    migrate(dsn)
    ledger = Ledger(dsn, "tester")
    ledger.studies.add_found(REF, "lung", "drop", "hash", b"sealed")
    return dsn


def test_old_parts_go_to_files_and_the_rest_stays(trail: str, tmp_path: Path) -> None:
    first = _run(trail, "SELECT id, ref, became, actor FROM pacsgrid.audit")
    assert archive_trail(trail, datetime.now(UTC), tmp_path / "out") == []
    moved, *others = archive_trail(trail, FAR, tmp_path / "out")
    assert moved.rows == 1 and others and not any(part.rows for part in others)
    assert sha256(moved.file.read_bytes()).hexdigest() == moved.sha256
    assert moved.file.stat().st_mode & 0o077 == 0
    with gzip.open(moved.file, "rt", newline="") as text:
        (row,) = csv.DictReader(text)
    assert [(int(row["id"]), row["ref"], row["became"], row["actor"])] == first
    told = _run(trail, "SELECT rows, file, sha256 FROM pacsgrid.audit_part WHERE rows > 0")
    assert told == [(1, str(moved.file), moved.sha256)]
    ledger = Ledger(trail, "tester")
    assert ledger.audit.changes(REF) == []
    assert ledger.consistency.violations("lung") == []
    # What is written now has no part of its own any more, and is not refused.
    ledger.studies.hold(REF, "label", "look")
    assert _parts(trail) == {"audit_rest": 1}
    assert archive_trail(trail, FAR, tmp_path / "out") == []


def test_a_lack_after_the_archived_years_is_still_told(trail: str, tmp_path: Path) -> None:
    archive_trail(trail, FAR, tmp_path)
    ledger = Ledger(trail, "tester")
    _run(
        trail,
        "UPDATE pacsgrid.study SET found_at = now() + interval '10 years',"
        " changed_at = now() + interval '10 years'",
    )
    assert len(ledger.consistency.violations("lung")) == 1
    ledger.studies.hold(REF, "label", "look")
    _run(trail, "UPDATE pacsgrid.study SET found_at = now() + interval '10 years'")
    (lack,) = ledger.consistency.violations("lung")
    assert lack[:2] == ("the audit trail lacks a change of state", REF)


def test_who_reads_the_trail_is_not_waited_for_long(
    trail: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = import_module("pacsgrid.ledger.trail_archive")
    monkeypatch.setattr(module, "_LOCK_TIMEOUT", "SET lock_timeout = '50ms'")
    with closing(psycopg2.connect(trail)) as reader, reader.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pacsgrid.audit")
        with pytest.raises(RetryableError, match="in use"):
            archive_trail(trail, FAR, tmp_path)
    assert len(_run(trail, "SELECT 1 FROM pacsgrid.audit")) == 1
    assert sum(part.rows for part in archive_trail(trail, FAR, tmp_path)) == 1


def test_an_archive_that_was_killed_goes_on(
    trail: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = import_module("pacsgrid.ledger.trail_archive")

    def killed(*given: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "_drop", killed)
        archive_trail(trail, FAR, tmp_path)
    assert len(_run(trail, "SELECT 1 FROM pacsgrid.audit")) == 1
    moved, *_ = archive_trail(trail, FAR, tmp_path)
    assert sha256(moved.file.read_bytes()).hexdigest() == moved.sha256
    assert _run(trail, "SELECT 1 FROM pacsgrid.audit") == []


def test_nothing_is_lost_while_a_part_is_moved(trail: str, tmp_path: Path) -> None:
    refs = [f"st-{number:020x}" for number in range(60)]
    ready = threading.Event()

    def write() -> None:
        ledger = Ledger(trail, "writer")
        for number, ref in enumerate(refs):
            ledger.studies.add_found(ref, "lung", "drop", "hash", b"sealed")
            if number == 5:
                ready.set()

    # The present year is in a part that stays; what went before it is moved meanwhile.
    _run(
        trail,
        "INSERT INTO pacsgrid.audit (ref, became, actor, at)"
        " SELECT 'st-old', 'found', 'x', now() + interval '2 years' FROM generate_series(1, 5000)",
    )
    writer = threading.Thread(target=write)
    writer.start()
    assert ready.wait(60)
    _run(
        trail,
        "UPDATE pacsgrid.audit_part SET until = until - interval '99 years'"
        " WHERE name <> 'audit_before'",
    )
    moved = archive_trail(trail, datetime.now(UTC), tmp_path)
    writer.join()
    assert sum(part.rows for part in moved) == 5000
    kept = _run(trail, "SELECT ref FROM pacsgrid.audit WHERE actor = 'writer' ORDER BY id")
    assert [ref for (ref,) in kept] == refs


def test_the_command_obeys_the_policy(
    postgres_roles: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    owner, app = postgres_roles
    prepare(owner, app)
    Ledger(app, "tester").studies.add_found(REF, "lung", "drop", "hash", b"sealed")
    for name, text in (("owner", owner), ("app", app)):
        (tmp_path / name).write_text(text + "\n")
    site: dict[str, object] = {
        **{room: f"/x/{room}" for room in ("staging", "outbox", "quarantine")},
        **{"sources": {}, "zones": {}, "projects": {}},
        **{"vault_key_file": "/x/vault.key", "ledger_dsn_file": str(tmp_path / "app")},
    }
    command = ["ledger", "--site", str(tmp_path / "site.yaml"), "--owner-dsn-file"]
    command += [str(tmp_path / "owner"), "--archive-trail", str(tmp_path / "out")]
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(site))
    assert main(command) == 2
    assert "audit.trail_years is not set" in capsys.readouterr().err
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(site | {"audit": {"trail_years": 1}}))
    assert main(command) == 0
    assert "0 years were moved" in capsys.readouterr().out
    _run(
        owner,
        "UPDATE pacsgrid.audit_part SET until = now() - interval '400 days'"
        " WHERE name = 'audit_before'",
    )
    assert main(command) == 0
    assert "1 entries, SHA-256" in capsys.readouterr().out
    ledger = Ledger(app, "tester")
    ledger.studies.hold(REF, "label", "look")
    assert [one.became for one in ledger.audit.changes(REF)] == ["held"]


@pytest.fixture
def postgres_roles(postgres: EmbeddedPostgres, dsn: str) -> tuple[str, str]:
    database = str(_run(dsn, "SELECT current_database()")[0][0])
    for role in ("t_app", "t_owner"):
        postgres.create_role(role)
    _run(dsn, f'ALTER DATABASE "{database}" OWNER TO t_owner')
    return postgres.dsn(database, "t_owner"), postgres.dsn(database, "t_app")
