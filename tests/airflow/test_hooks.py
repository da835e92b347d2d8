"""Connections as Airflow shows and tests them, and as the site file names them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from airflow.models import Connection
from airflow.providers_manager import ProvidersManager

import pacsgrid
from irods_zone import ZoneServer
from pacsgrid.airflow.hooks.irods import IrodsHook
from pacsgrid.config import ZoneSettings, load_site
from pacsgrid.connections import EXTRAS
from pacsgrid.embedded.pacs import DICOMWEB, ORTHANC, EmbeddedPacs
from pacsgrid.embedded.ports import reserve_port
from pacsgrid.errors import ConfigError
from pacsgrid.grid import Zone
from pacsgrid.pacs import open_source

SECRET = "Kanarek7f3a"


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPacs]:
    with EmbeddedPacs(tmp_path_factory.mktemp("pacs")) as pacs:
        yield pacs


@pytest.fixture
def zone(tmp_path: Path) -> Iterator[Zone]:
    where = {"zone": "brno", "directory": tmp_path / "zone", "admin": "rods", "password": SECRET}
    with ZoneServer(port=reserve_port(), **where) as server:
        yield Zone(
            ZoneSettings(
                name="brno", host="127.0.0.1", port=server.port, user="rods", password=SECRET
            )
        )


def _keep(monkeypatch: pytest.MonkeyPatch, name: str, **fields: object) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(fields))


def _dicom(pacs: EmbeddedPacs) -> dict[str, object]:
    settings = pacs.settings()
    extra = {"ae_title": settings.ae_title}
    return {"conn_type": "dicom", "host": settings.host, "port": settings.port, "extra": extra}


def test_the_distribution_that_is_installed_is_this_version() -> None:
    """Airflow finds provider, policy and plugin through it, and each of them once."""
    (found,) = metadata.distributions(name="pacsgrid")
    assert found.version == pacsgrid.__version__


def test_airflow_knows_the_types_and_their_fields() -> None:
    manager = ProvidersManager()
    manager.initialize_providers_hooks()
    for kind, extras in EXTRAS.items():
        mine = {w for w in manager._connection_form_widgets if w.startswith(f"extra__{kind}__")}
        assert mine == {f"extra__{kind}__{name}" for name in extras}
        assert "extra" in manager._field_behaviours[kind]["hidden_fields"]
    assert manager._connection_form_widgets["extra__dicomweb__token"].is_sensitive


def test_the_test_button_asks_the_pacs(pacs: EmbeddedPacs, monkeypatch: pytest.MonkeyPatch) -> None:
    good = _dicom(pacs)
    _keep(monkeypatch, "radiology_pacs", **good)
    extra = json.dumps(good.pop("extra"))
    right = Connection(conn_id="radiology_pacs", extra=extra, **good)
    told, message = right.test_connection()
    assert told and "answers C-ECHO" in message
    _keep(monkeypatch, "gone", **{**good, "port": 1, "extra": {"ae_title": "X"}})
    told, message = Connection(conn_id="gone", conn_type="dicom").test_connection()
    assert not told and "gone" in message
    _keep(monkeypatch, "half", conn_type="dicom", host="pacs", port=104)
    told, message = Connection(conn_id="half", conn_type="dicom").test_connection()
    assert not told and "ae_title is not set" in message


@pytest.mark.skipif(not (ORTHANC.exists() and DICOMWEB.exists()), reason="no Orthanc with DICOMweb")
def test_the_test_button_asks_dicomweb(pacs: EmbeddedPacs, monkeypatch: pytest.MonkeyPatch) -> None:
    root = pacs.settings("web").url
    given = {"conn_type": "dicomweb", "login": "reader", "password": SECRET}

    def pressed(**more: object) -> tuple[bool, str]:
        _keep(monkeypatch, "cloud", **{**given, **more})
        told: tuple[bool, str] = Connection(conn_id="cloud", **given).test_connection()
        return told

    told, message = pressed(host=root)
    assert told and message == f"{root} answers QIDO-RS"
    told, message = pressed(host=root.replace("dicom-web", "elsewhere"))
    assert not told and "404" in message
    told, message = pressed(host=f"http://127.0.0.1:{reserve_port()}")
    assert not told and "cloud" in message
    told, message = pressed(host="")
    assert not told and "url is not set" in message
    told, message = pressed(host=root, extra={"tokken": SECRET})
    assert not told and "no tokken" in message
    assert SECRET not in message


def test_a_source_and_a_zone_take_address_and_credentials_from_connections(
    pacs: EmbeddedPacs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for key in ("vault.key", "lung.key"):
        (tmp_path / key).write_bytes(bytes(32))
    site = {
        **{room: str(tmp_path / room) for room in ("staging", "outbox", "quarantine")},
        "vault_key_file": str(tmp_path / "vault.key"),
        "sources": {
            "metro": {"kind": "dimse", "connection": "radiology_pacs", "max_associations": 3},
            "web": {"kind": "dicomweb", "connection": "cloud_pacs"},
            "wrong": {"kind": "dimse", "connection": "cloud_pacs"},
            "missing": {"kind": "dimse", "connection": "nowhere"},
        },
        "zones": {"brno": {"connection": "brno_zone", "copies": 2}},
        "projects": {
            "lung": {"profile": "basic", "home_zone": "brno", "key_file": str(tmp_path / "l.key")}
        },
    }
    path = tmp_path / "site.yaml"
    path.write_text(yaml.safe_dump(site))
    monkeypatch.setenv("PACSGRID_LEDGER_DSN", "")
    loaded = load_site(path)  # asks for none of the connections, which are not there yet
    _keep(monkeypatch, "radiology_pacs", **_dicom(pacs))
    web = {"host": "https://pacs.example/dicom-web", "login": "reader", "password": SECRET}
    _keep(monkeypatch, "cloud_pacs", conn_type="dicomweb", **web)
    zone = {"host": "irods", "port": 1247, "login": "svc", "password": SECRET}
    zone["extra"] = {"ca_file": "/etc/grid-ca.pem"}
    _keep(monkeypatch, "brno_zone", conn_type="irods", **zone)
    open_source(loaded.source("metro")).echo()
    assert loaded.source("metro").max_associations == 3
    assert loaded.source("web").url == "https://pacs.example/dicom-web"
    brno = loaded.zone("brno")
    assert (brno.user, brno.password.get_secret_value(), brno.copies, brno.name) == (
        "svc",
        SECRET,
        2,
        "brno",
    )
    assert brno.ca_file == Path("/etc/grid-ca.pem")
    assert SECRET not in repr(loaded) + repr(brno) + repr(loaded.source("web"))
    with pytest.raises(ConfigError, match="cloud_pacs is of type dicomweb"):
        loaded.source("wrong")
    with pytest.raises(ConfigError, match="no connection nowhere"):
        loaded.source("missing")


def test_a_zone_is_reached_and_asked_through_its_connection(
    zone: Zone, monkeypatch: pytest.MonkeyPatch
) -> None:
    s = zone.settings
    given = {"conn_type": "irods", "host": s.host, "port": s.port, "schema": s.name}
    _keep(monkeypatch, "grid", login=s.user, password=s.password.get_secret_value(), **given)
    told, message = IrodsHook("grid").test_connection()
    assert told and f"lets {s.user} in" in message
    _keep(monkeypatch, "grid", login=s.user, password="wrong", **given)
    told, message = IrodsHook("grid").test_connection()
    assert not told and "wrong" not in message
