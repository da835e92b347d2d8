"""A zone with `ca_file` is spoken to over TLS only, and only when its certificate is good."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from irods_zone import ZoneServer
from pacsgrid.config import ZoneSettings
from pacsgrid.errors import ZoneError, ZoneUnavailableError
from pacsgrid.grid import Zone, put_document
from pacsgrid.grid.user import UserZone
from support.certificates import Certificates, make_certificates
from support.irods_user import iinit


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return make_certificates(tmp_path / "ours")


@pytest.fixture
def settings(tmp_path: Path, certificates: Certificates) -> Iterator[ZoneSettings]:
    tls = (certificates.server, certificates.server_key)
    with ZoneServer("brno", tmp_path / "z", password="x", tls=tls, tls_required=True) as server:
        yield ZoneSettings(
            name="brno", host="localhost", port=server.port, user="rods", password="x", copies=1
        )


def test_bytes_go_through_tls(settings: ZoneSettings, certificates: Certificates) -> None:
    with Zone(settings.replace(ca_file=certificates.authority)) as zone:
        put_document(zone, "/brno/home/rods/a", b"whole")
        assert zone.session.pool.get_connection().socket.version().startswith("TLS")
        with zone.session.data_objects.open("/brno/home/rods/a", "r") as stream:
            assert stream.read() == b"whole"


def test_a_certificate_of_others_is_refused(settings: ZoneSettings, tmp_path: Path) -> None:
    others = make_certificates(tmp_path / "others")
    wrong = settings.replace(ca_file=others.authority)
    with Zone(wrong) as zone, pytest.raises(ZoneError, match="check host and ca_file"):
        zone.ping()


def test_a_certificate_of_another_host_is_refused(
    settings: ZoneSettings, certificates: Certificates
) -> None:
    here = settings.replace(host="127.0.0.1", ca_file=certificates.authority)
    with Zone(here) as zone, pytest.raises(ZoneError, match="not trusted"):
        zone.ping()


def test_a_zone_that_requires_tls_names_the_setting_that_is_missing(
    settings: ZoneSettings,
) -> None:
    missing = r"requires TLS: set zones\.brno\.ca_file"
    with Zone(settings) as zone, pytest.raises(ZoneUnavailableError, match=missing):
        zone.ping()


def test_a_zone_that_is_away_is_not_said_to_require_tls(settings: ZoneSettings) -> None:
    with Zone(settings.replace(port=1)) as zone, pytest.raises(ZoneUnavailableError) as raised:
        zone.ping()
    assert "TLS" not in str(raised.value)


def test_a_zone_without_tls_is_refused(tmp_path: Path, certificates: Certificates) -> None:
    with ZoneServer("brno", tmp_path / "plain", password="x") as server:
        plain = ZoneSettings(
            name="brno", host="localhost", port=server.port, user="rods", password="x"
        )
        secure = plain.replace(ca_file=certificates.authority)
        with Zone(secure) as zone, pytest.raises(ZoneUnavailableError):
            zone.ping()
        with Zone(plain) as zone:
            zone.ping()


def test_the_environment_that_researchers_are_told_to_write(
    settings: ZoneSettings,
    certificates: Certificates,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    document = (Path(__file__).parents[2] / "docs" / "fetch.md").read_text()
    (text,) = re.findall(r"```json\n(.*?)```", document, re.DOTALL)
    for name, value in iinit(
        tmp_path, settings, settings.user, settings.password.get_secret_value()
    ).items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "irods_environment.json"
    here = json.loads(file.read_text())
    authority = {"irods_ssl_ca_certificate_file": str(certificates.authority)}
    file.write_text(json.dumps({**json.loads(text), **here, **authority}))
    with UserZone() as zone:
        assert zone.session.collections.exists("/brno/home/rods")
        assert zone.session.pool.get_connection().socket.version().startswith("TLS")
