"""The site file: where the ledger is, and how a zone is spoken to."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pacsgrid.config import load_site
from pacsgrid.errors import ConfigError

SECRET = "host=db password=7f3a"


def _site(folder: Path, **more: object) -> Path:
    (folder / "vault.key").write_bytes(bytes(32))
    (folder / "zone").write_text("z")
    zone = {"host": "irods", "port": 1247, "user": "svc", "password_file": str(folder / "zone")}
    site = {
        **{room: str(folder / room) for room in ("staging", "outbox", "quarantine")},
        "vault_key_file": str(folder / "vault.key"),
        "sources": {},
        "zones": {"brno": {**zone, "ca_file": str(folder / "ca.pem")}},
        "projects": {},
        **more,
    }
    path = folder / "site.yaml"
    path.write_text(yaml.safe_dump(site))
    return path


def test_the_ledger_is_named_by_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACSGRID_LEDGER_DSN", "host=elsewhere")
    file = tmp_path / "ledger.dsn"
    path = _site(tmp_path, ledger_dsn_file=str(file))
    with pytest.raises(ConfigError, match="ledger_dsn_file: cannot read"):
        load_site(path)
    file.write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        load_site(path)
    file.write_text(SECRET + "\n")
    assert load_site(path).ledger_dsn == SECRET


def test_without_a_file_the_variable_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _site(tmp_path)
    monkeypatch.delenv("PACSGRID_LEDGER_DSN", raising=False)
    with pytest.raises(ConfigError, match=r"Set ledger_dsn_file .* or the variable PACSGRID_LED"):
        load_site(path)
    monkeypatch.setenv("PACSGRID_LEDGER_DSN", SECRET)
    assert load_site(path).ledger_dsn == SECRET


def test_whom_a_zone_must_show_a_certificate_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACSGRID_LEDGER_DSN", SECRET)
    assert load_site(_site(tmp_path)).zone("brno").ca_file == tmp_path / "ca.pem"
