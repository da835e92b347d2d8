"""The way back is open to those who say who they are and why, and leaves its entry."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
import yaml

from pacsgrid.cli import main
from pacsgrid.cli.reidentify import account
from pacsgrid.errors import ConfigError
from pacsgrid.ledger import Ledger, Vault
from pacsgrid.model import AnonymisedInstance
from pacsgrid.pipeline.reidentify import reidentify
from support.seeded import seeded_bytes

KEY = seeded_bytes(32, "key")
IDENTITY = {"study_uid": "1.2.3", "patient_id": "756203/1234"}
WHY = "incidental finding, ethics vote 12/2026"


def entries(dsn: str) -> list[tuple[str, ...]]:
    with psycopg2.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT who, ref, what, reason FROM pacsgrid.access ORDER BY id")
        return cursor.fetchall()


@pytest.fixture
def filled(dsn: str) -> Iterator[str]:
    ledger = Ledger(dsn)
    for ref, uid in (("st-a", "2.25.1"), ("st-b", "2.25.2")):
        ledger.studies.add_found(ref, "demo", "pacs", "hash", Vault(KEY).seal(ref, IDENTITY))
        made = AnonymisedInstance(
            uid, f"{uid}.1", f"{uid}.1.1", "SABC", "CT", "4", "ab" * 32, 10, Path("x")
        )
        ledger.instances.add(ref, [made])
    yield dsn


@pytest.mark.parametrize(
    ("pseudonym", "refs"),
    [
        ("SABC", ["st-a", "st-b"]),
        ("2.25.1", ["st-a"]),
        ("2.25.2.1.1", ["st-b"]),
        ("st-a", ["st-a"]),
    ],
)
def test_a_pseudonym_leads_back_and_leaves_an_entry(
    filled: str, pseudonym: str, refs: list[str]
) -> None:
    opened = dict(reidentify(filled, KEY, "demo", pseudonym, "MUDr. Malá", WHY))
    assert opened == dict.fromkeys(refs, IDENTITY)
    assert entries(filled) == [("MUDr. Malá", ref, "identity", WHY) for ref in refs]


@pytest.mark.parametrize(
    ("project", "pseudonym", "who", "why"),
    [("demo", "SABC", " ", WHY), ("demo", "SABC", "Malá", "because"), ("demo", "SXYZ", "Malá", WHY),
     ("other", "SABC", "Malá", WHY)],
)  # fmt: skip
def test_without_name_reason_or_study_nothing_is_opened(
    filled: str, project: str, pseudonym: str, who: str, why: str
) -> None:
    with pytest.raises(ConfigError):
        list(reidentify(filled, KEY, project, pseudonym, who, why))
    assert entries(filled) == []


def test_an_attempt_with_a_wrong_key_is_recorded(filled: str) -> None:
    with pytest.raises(ConfigError, match="vault key"):
        list(reidentify(filled, seeded_bytes(32, "another key"), "demo", "SABC", "Malá", WHY))
    assert [entry[:2] for entry in entries(filled)] == [("Malá", "st-a")]


def test_the_database_alone_says_nothing_and_its_record_stays(filled: str) -> None:
    list(reidentify(filled, KEY, "demo", "SABC", "Malá", WHY))
    with psycopg2.connect(filled) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT sealed FROM pacsgrid.vault")
        assert not any(b"756203" in bytes(sealed) for (sealed,) in cursor.fetchall())
        with pytest.raises(psycopg2.Error, match="append-only"):
            cursor.execute("UPDATE pacsgrid.access SET reason = ''")


def test_the_command_prints_the_way_back(
    filled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "vault.key").write_bytes(KEY)
    (tmp_path / "demo.key").write_bytes(KEY)
    project = {
        "profile": "basic", "home_zone": "brno", "key_file": str(tmp_path / "demo.key")
    }  # fmt: skip
    zone = {"host": "localhost", "port": 1247, "user": "rods", "password_env": "ZONE_PASSWORD"}
    site = {
        **{room: str(tmp_path / room) for room in ("staging", "outbox", "quarantine")},
        "vault_key_file": str(tmp_path / "vault.key"),
        "sources": {},
        "zones": {"brno": zone},
        "projects": {"demo": project},
    }
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(site))
    monkeypatch.setenv("PACSGRID_LEDGER_DSN", filled)
    monkeypatch.setenv("ZONE_PASSWORD", "x")
    command = ["reidentify", "2.25.1", "--project", "demo", "--site", str(tmp_path / "site.yaml")]
    assert main([*command, "--who", "Malá", "--reason", WHY]) == 0
    assert json.loads(capsys.readouterr().out) == {"ref": "st-a", **IDENTITY}
    assert main([*command, "--who", "Malá", "--reason", "why"]) == 2
    ((who, *_),) = entries(filled)
    assert who.startswith("Malá (")


@pytest.mark.parametrize("name", ["LOGNAME", "USER", "LNAME", "USERNAME", "HOME"])
def test_no_variable_chooses_the_account_that_is_recorded(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    before = account()
    monkeypatch.setenv(name, "primar")
    assert account() == before
    assert f"uid {os.getuid()}" in before and "primar" not in before


def test_whom_sudo_is_said_to_work_for_stands_there_as_a_claim(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SUDO_USER", "primar")
    assert account().startswith(f"account {pwd.getpwuid(os.getuid()).pw_name}, uid {os.getuid()}")
    assert account().endswith("says it is sudo of primar")


def test_an_account_without_a_name_is_recorded_by_its_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert f"uid {os.getuid()}" in account()
