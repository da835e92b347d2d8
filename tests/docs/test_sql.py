"""The SQL of docs/upgrade.md separates the roles of a ledger that has one."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
import yaml

from pacsgrid.cli import main
from pacsgrid.embedded.postgres import EmbeddedPostgres
from pacsgrid.ledger import migrate, owns_its_trail
from support.documents import ROOT, blocks, shell_commands

ALONE, DATABASE = "alone", "ledger_alone"


def _run(dsn: str, statement: str) -> None:
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        connection.cursor().execute(statement)


def _named(statement: str) -> str:
    """Return a statement of the page for this test's database and its one role."""
    return re.sub(r"\bDATABASE ledger\b", f"DATABASE {DATABASE}",
                  re.sub(r"\b(GRANT|REVOKE) ledger\b", rf"\1 {ALONE}", statement))  # fmt: skip


def test_the_roles_of_a_ledger_are_separated(
    postgres: EmbeddedPostgres, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    postgres.create_database(DATABASE)
    postgres.create_role(ALONE)
    superuser, alone = postgres.dsn("postgres"), postgres.dsn(DATABASE, ALONE)
    _run(superuser, f"ALTER DATABASE {DATABASE} OWNER TO {ALONE}")
    migrate(alone)
    assert owns_its_trail(alone)
    page = (ROOT / "docs" / "upgrade.md").read_text(encoding="utf-8")
    (block,) = (one for one in blocks("sql") if one.page == "docs/upgrade.md")
    _run(superuser, _named(block.text))
    owner = re.sub(r"password='?[^' ]+'?", "password=...", postgres.dsn(DATABASE, "ledger_owner"))
    (tmp_path / "FILE").write_text(owner)
    (tmp_path / "app").write_text(alone)
    site = {
        **{room: f"/x/{room}" for room in ("staging", "outbox", "quarantine")},
        **{"sources": {}, "zones": {}, "projects": {}},
        **{"vault_key_file": "/x/vault.key", "ledger_dsn_file": str(tmp_path / "app")},
    }
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(site))
    assert "pacsgrid ledger --owner-dsn-file FILE" in shell_commands()
    given = ["--owner-dsn-file", str(tmp_path / "FILE"), "--site", str(tmp_path / "site.yaml")]
    assert main(["ledger", *given]) == 0, capsys.readouterr().err
    (last,) = re.findall(r"`(REVOKE [^`;]+);?`", page)
    _run(superuser, _named(last))
    assert not owns_its_trail(alone)
