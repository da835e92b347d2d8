"""The site file: what it may say, what is wrong with it, and secrets that nothing shows."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from pacsgrid.config import SourceSettings, ZoneSettings, load_site
from pacsgrid.config.schema import SiteFile
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


def _models(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Return a model and all that it holds, by name."""
    found: dict[str, type[BaseModel]] = {}
    todo = [model]
    while todo:
        one = todo.pop()
        if one.__name__ not in found:
            found[one.__name__] = one
            for field in one.model_fields.values():
                kinds = [field.annotation]
                while kinds:
                    kind = kinds.pop()
                    kinds += getattr(kind, "__args__", ())
                    if isinstance(kind, type) and issubclass(kind, BaseModel):
                        todo.append(kind)
    return found


def test_every_setting_is_described_and_immutable() -> None:
    models = _models(SiteFile)
    assert {"SourceSection", "ZoneSection", "ProjectSection", "ReceiverSection"} <= set(models)
    for name, model in models.items():
        assert model.model_config["frozen"] and model.model_config["extra"] == "forbid", name
        for setting, field in model.model_fields.items():
            assert field.description, f"{name}.{setting}"
            assert field.description.rstrip().endswith("."), f"{name}.{setting}"


def test_a_secret_shows_in_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACSGRID_LEDGER_DSN", SECRET)
    (tmp_path / "secret").write_text("Kanarek7f3a\n")
    source = {"kind": "dimse", "user": "u", "password_file": str(tmp_path / "secret")}
    zone = {"host": "h", "port": 1, "user": "u", "password_file": str(tmp_path / "secret")}
    receiver = {
        "folder": str(tmp_path),
        "project": "lung",
        "airflow_url": "https://airflow",
        "password_file": str(tmp_path / "secret"),
    }
    given = {"sources": {"pacs": source}, "zones": {"brno": zone}, "receiver": receiver}
    site = load_site(_site(tmp_path, **given))
    assert site.receiver
    settings = [site.zone("brno"), site.source("pacs")]
    held = [one.password for one in settings] + [site.receiver.airflow_password]
    assert {one.get_secret_value() for one in held} == {"Kanarek7f3a"}
    shown = [*settings, site.receiver, site]
    text = " ".join(
        [*map(repr, shown), *map(str, shown), *(str(one.model_dump()) for one in settings)]
    )
    assert "Kanarek" not in text and SECRET not in text


def test_an_error_quotes_no_value() -> None:
    with pytest.raises(ValidationError) as caught:
        ZoneSettings(name="brno", password="Kanarek7f3a")  # type: ignore[call-arg]
    assert "Kanarek" not in str(caught.value)
    with pytest.raises(ValidationError) as caught:
        SourceSettings(name="pacs", kind="dimse", port="Kanarek7f3a")
    assert "Kanarek" not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"batch_sise": 3}, "batch_sise: there is no such key"),
        ({"batch_size": 0}, "batch_size: "),
        ({"time_zone": "Brno"}, "time_zone: not a time zone"),
        ({"vault_key_file": None}, "vault_key_file: "),
        ({"sources": {"a": {"kind": "ftp"}}}, "sources.a.kind: must be 'dimse', 'dicomweb'"),
        ({"sources": {"a": {"kind": "dimse", "password": "Kanarek"}}}, "sources.a.password: there"),
        (
            {"sources": {"a": {"kind": "dimse", "name": "b"}}},
            "sources.a.name: there is no such key",
        ),
        ({"sources": {"a": {"kind": "dimse", "state": "/s"}}}, "sources.a.state: there is no such"),
        ({"sources": {"a": {"kind": "dimse", "hours": "8-16"}}}, "sources.a.hours: write a time"),
        ({"sources": {"a": {"kind": "dimse", "user": "u"}}}, "sources.a: user without password"),
        ({"sources": {"a": {"kind": "dicomweb"}}}, "sources.a: url is not set"),
        (
            {"sources": {"a": {"kind": "folder", "connection": "c"}}},
            "kind folder has no connection",
        ),
        ({"zones": {"brno": {"host": "h"}}}, "zones.brno: give host, port and user"),
        ({"zones": {"brno": {"host": "h", "port": 1, "user": "u"}}}, "zones.brno: no password"),
        (
            {"receiver": {"folder": "/f", "airflow_password": "Kanarek"}},
            "receiver.airflow_password",
        ),
        ({"receiver": {"folder": "/f", "allow": [{}]}}, "receiver.allow entry 1, ae_title: is not"),
        ({"receiver": {"folder": "/f", "key_file": "/k"}}, "receiver: key_file needs cert_file"),
        ({"receiver": {"folder": "/f", "airflow_url": "u"}}, "airflow_url needs password_env"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, object], told: str
) -> None:
    monkeypatch.setenv("PACSGRID_LEDGER_DSN", SECRET)
    path = _site(tmp_path, **wrong)
    with pytest.raises(ConfigError) as caught:
        load_site(path).source("a")
    assert told in str(caught.value) and str(path) in str(caught.value)
    assert "Kanarek" not in str(caught.value)


def test_a_file_that_is_no_yaml_is_told_by_line(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text("staging: /s\nzones: {brno: {password: Kanarek7f3a\n")
    with pytest.raises(ConfigError, match=r"not YAML: line 3, column 1: ") as caught:
        load_site(path)
    assert "Kanarek" not in str(caught.value)


@pytest.mark.parametrize(
    ("project", "told"),
    [
        ({"home_zone": "wien"}, "no zone named 'wien'"),
        ({"partner_zones": ["wien"]}, "no zone named 'wien'"),
        ({"nightly": ["pacs"]}, "no source named 'pacs'"),
        ({"replication": {"zones": {"wien": {}}}}, "'wien' is neither home_zone nor in partner"),
    ],
)
def test_a_project_names_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project: dict[str, object], told: str
) -> None:
    monkeypatch.setenv("PACSGRID_LEDGER_DSN", SECRET)
    given = {"profile": "basic", "home_zone": "brno", "key_file": "/k", **project}
    with pytest.raises(ConfigError, match=told):
        load_site(_site(tmp_path, projects={"lung": given}))


def test_a_project_gets_what_its_zones_say_where_it_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACSGRID_LEDGER_DSN", SECRET)
    (tmp_path / "zone").write_text("z")
    zone = {"host": "h", "port": 1, "user": "u", "password_file": str(tmp_path / "zone")}
    lung = {
        "profile": "basic",
        "home_zone": "brno",
        "partner_zones": ["praha"],
        "key_file": "/k",
        "replication": {"zones": {"praha": {"copies": 3}}, "reverify_days": 0},
    }
    zones = {"brno": {**zone, "copies": 2, "resource": "pair"}, "praha": zone}
    project = load_site(_site(tmp_path, zones=zones, projects={"lung": lung})).project("lung")
    assert list(project.replication.copies.items()) == [("brno", 2), ("praha", 3)]
    assert project.replication.resources == {"brno": "pair", "praha": "demoResc"}
    assert (project.replication.within_hours, project.replication.reverify_days) == (72, 0)
    assert (project.name, project.nightly_from) == ("lung", None)
