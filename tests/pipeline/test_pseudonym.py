"""From a patient's identifiers to the pseudonyms in each project, always on record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import psycopg2
import pytest
import yaml
from pydicom import dcmread

from pacsgrid.airflow import cohorts
from pacsgrid.cli import main
from pacsgrid.config import SITE_ENV, Site, load_site
from pacsgrid.deid import Pseudonyms
from pacsgrid.errors import ConfigError
from pacsgrid.ledger import Ledger, Vault
from pacsgrid.model import AnonymisedInstance, StudyQuery
from pacsgrid.pipeline import ProjectContext, find_studies
from pacsgrid.pipeline.pseudonym import IdentifierKind, find_pseudonyms, subjects_of
from support.dicom import ct
from support.seeded import seeded_bytes

KEY = seeded_bytes(32, "key")
WHY = "a withdrawal, letter of 3 May"
PATIENT, NUMBER, UID = "756203/1234", "ACC-17", "1.2.826.5.1"


@pytest.fixture
def site(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Two projects that took the studies of a drop folder: two of a patient, one of another."""
    (tmp_path / "drop").mkdir()
    for n, patient in enumerate((PATIENT, PATIENT, "other"), 1):
        uid = UID.replace(".5.1", f".5.{n}")
        path = ct(tmp_path / "drop" / f"{n}.dcm", uid, f"{uid}.1.1", patient_id=patient)
        ds = dcmread(path)
        ds.AccessionNumber = NUMBER if n == 1 else f"ACC-{n}"
        ds.save_as(path)
    for name in ("vault", "lung", "heart"):
        (tmp_path / f"{name}.key").write_bytes(KEY)
    zone = {"host": "localhost", "port": 1247, "user": "rods", "password_env": "ZONE_PASSWORD"}
    document = {
        **{room: str(tmp_path / room) for room in ("staging", "outbox", "quarantine")},
        "vault_key_file": str(tmp_path / "vault.key"),
        "sources": {"drop": {"kind": "folder", "folder": str(tmp_path / "drop")}},
        "zones": {"brno": zone},
        "projects": {
            name: {
                "profile": "basic", "home_zone": "brno", "key_file": str(tmp_path / f"{name}.key")
            }
            for name in ("lung", "heart")
        },
    }  # fmt: skip
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(document))
    monkeypatch.setenv("PACSGRID_LEDGER_DSN", dsn)
    monkeypatch.setenv("ZONE_PASSWORD", "x")
    monkeypatch.setenv(SITE_ENV, str(tmp_path / "site.yaml"))
    site = load_site()
    for name in ("lung", "heart"):
        with ProjectContext(site, name) as context:
            find_studies(context, "drop", StudyQuery())
    yield site


def anonymise(site: Site, project: str, uid: str, subject: str = "") -> str:
    """Enter an instance of a study as anonymised; return the study's reference."""
    pseudonyms = Pseudonyms(KEY, project)
    ref, study = pseudonyms.reference("drop", uid), pseudonyms.uid(uid)
    made = AnonymisedInstance(
        study, f"{study}.1", f"{study}.1.1", subject or pseudonyms.subject(PATIENT), "CT", "4",
        "ab" * 32, 10, Path("x"),
    )  # fmt: skip
    Ledger(site.ledger_dsn).instances.add(ref, [made])
    return ref


def rows(dsn: str, sql: str) -> list[tuple[object, ...]]:
    with psycopg2.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


@pytest.mark.parametrize(
    ("kind", "value", "count"),
    [("patient", PATIENT, 2), ("accession", NUMBER, 1), ("study", UID, 1)],
)
def test_each_kind_of_identifier_leads_to_subject_and_studies(
    site: Site, kind: str, value: str, count: int
) -> None:
    refs = {anonymise(site, "lung", UID.replace(".5.1", f".5.{n}")) for n in (1, 2)}
    with ProjectContext(site, "lung") as context:
        (one,) = find_pseudonyms(context, IdentifierKind(kind), [value], "Malá", WHY)
    assert one.subject == context.pseudonyms.subject(PATIENT)
    assert len(one.studies) == count and set(one.refs) <= refs and one.entry == 1
    assert context.pseudonyms.uid(UID) in one.studies
    dsn = site.ledger_dsn
    assert rows(dsn, "SELECT project, kind, number, who, reason FROM pacsgrid.lookup") == [
        ("lung", kind, 1, "Malá", WHY)
    ]
    assert rows(dsn, "SELECT who, ref, what, reason FROM pacsgrid.access ORDER BY ref") == [
        ("Malá", ref, "pseudonym", WHY) for ref in sorted(one.refs)
    ]


def test_an_issuer_in_the_headers_hides_no_study(site: Site) -> None:
    subject = Pseudonyms(KEY, "lung").subject(f"hospital\x1f{PATIENT}")
    ref = anonymise(site, "lung", UID, subject)
    anonymise(site, "lung", UID.replace(".5.1", ".5.2"))
    with ProjectContext(site, "lung") as context:
        found = find_pseudonyms(context, IdentifierKind.PATIENT, [PATIENT], "Malá", WHY)
    assert {one.subject for one in found} == {subject, context.pseudonyms.subject(PATIENT)}
    assert [one.refs for one in found if one.subject == subject] == [(ref,)]


def test_a_withdrawn_patient_is_told_as_such(site: Site) -> None:
    anonymise(site, "lung", UID)
    with ProjectContext(site, "lung") as context:
        subject = context.pseudonyms.subject(PATIENT)
        context.ledger.withdrawals.withdraw("lung", subject, ["brno"])
        found = find_pseudonyms(context, IdentifierKind.PATIENT, [PATIENT], "Malá", WHY)
    assert [(one.subject, one.withdrawn) for one in found] == [("", False), (subject, True)]


@pytest.mark.parametrize(
    ("who", "why", "values"),
    [(" ", WHY, ["1"]), ("Malá", "because", ["1"]), ("Malá", WHY, []), ("Malá", WHY, ["75*"])],
)
def test_nothing_is_looked_up_without_name_reason_and_identifiers(
    site: Site, who: str, why: str, values: list[str]
) -> None:
    with ProjectContext(site, "lung") as context, pytest.raises(ConfigError) as refused:
        find_pseudonyms(context, IdentifierKind.PATIENT, values, who, why)
    assert "75" not in str(refused.value)
    assert rows(site.ledger_dsn, "SELECT * FROM pacsgrid.lookup") == []


def test_an_attempt_with_a_wrong_vault_key_is_on_record(site: Site, tmp_path: Path) -> None:
    with ProjectContext(site, "lung") as context, pytest.raises(ConfigError, match="vault key"):
        context.vault = Vault(seeded_bytes(32, "another key"))
        find_pseudonyms(context, IdentifierKind.PATIENT, [PATIENT], "Malá", WHY)
    assert len(rows(site.ledger_dsn, "SELECT * FROM pacsgrid.lookup")) == 1


def test_the_command_reads_a_list_and_tells_every_project(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for project in ("lung", "heart"):
        anonymise(site, project, UID)
    monkeypatch.setattr("sys.stdin", StringIO(f"{PATIENT}\n\nunknown\n"))
    command = ["pseudonym", "patient", "--who", "Malá", "--reason", WHY]
    assert main(command) == 1
    said = capsys.readouterr()
    printed = [json.loads(line) for line in said.out.splitlines()]
    assert {(one["project"], one["subject"]) for one in printed if one["subject"]} == {
        (name, Pseudonyms(KEY, name).subject(PATIENT)) for name in ("lung", "heart")
    }
    assert said.err == "entry 2: no study in heart, lung\n"
    assert PATIENT not in said.out + said.err and "unknown" not in said.err
    (tmp_path / "list").write_text(f"{PATIENT}\n")
    assert main([*command, "--list", str(tmp_path / "list"), "--project", "lung"]) == 0
    assert main([*command, "--list", str(tmp_path / "none")]) == 2


def test_a_withdrawal_may_name_the_patient_in_a_sealed_selection(site: Site) -> None:
    anonymise(site, "lung", UID)
    with ProjectContext(site, "lung") as context:
        subject = context.pseudonyms.subject(PATIENT)
        make = context.ledger.selections.add
        known = make(context.vault, "lung", "eva", StudyQuery(patient_ids=(PATIENT,)))
        other = make(context.vault, "lung", "eva", StudyQuery(patient_ids=("nobody",)))
        with pytest.raises(ConfigError, match="patient_ids, entry 1") as refused:
            subjects_of(context, StudyQuery(patient_ids=("nobody",)), "eva", WHY)
        assert "nobody" not in str(refused.value)
    counted = cohorts.count_patient({"project": "lung", "selection": known, "subject": None})
    assert counted["subjects"] == subject and f"Withdraw {subject}" in counted["subject"]
    assert PATIENT not in str(counted)
    who, reason = rows(
        site.ledger_dsn, "SELECT who, reason FROM pacsgrid.lookup ORDER BY id DESC LIMIT 1"
    )[0]
    assert (who, reason) == ("eva", f"withdrawal, {known}")
    for params in ({"selection": other}, {}):
        with pytest.raises(Exception, match=r"entry 1|nobody is named"):
            cohorts.count_patient({"project": "lung", **params})
