"""The `gateway` section of a site file: errors name the setting, and no secrets."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from pacsgrid.config import GatewaySettings, load_site
from pacsgrid.errors import ConfigError


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("PACSGRID_LEDGER_DSN", "unused")
    (tmp_path / "key").write_text("key")
    (tmp_path / "token").write_text("sesame\n")
    zone = {"host": "h", "port": 1247, "user": "rods", "password_file": str(tmp_path / "key")}
    project = {"profile": "basic", "home_zone": "brno", "key_file": str(tmp_path / "key")}

    def site(**gateway: Any) -> GatewaySettings:
        content = {
            **{room: str(tmp_path / room) for room in ("staging", "outbox", "quarantine")},
            "vault_key_file": str(tmp_path / "key"),
            "sources": {},
            "zones": {"brno": zone, "praha": zone},
            "projects": {"demo": project, "heart": {**project, "partner_zones": ["praha"]}},
            "gateway": {
                "serve": [{"zone": "brno"}, {"zone": "praha"}],
                "index": str(tmp_path / "index.sqlite"),
                **gateway,
            },
        }
        (tmp_path / "site.yaml").write_text(yaml.safe_dump(content))
        settings = load_site(tmp_path / "site.yaml").gateway
        assert settings
        return settings

    return site


def test_projects_come_from_the_site_and_tokens_from_their_files(
    write: Any, tmp_path: Path
) -> None:
    digest = hashlib.sha256(b"swordfish").hexdigest()
    settings = write(
        tokens=[
            {"name": "eva", "user": "eva#brno", "token_file": str(tmp_path / "token")},
            {"name": "jan", "user": "jan#praha", "sha256": digest},
        ],
        peers=[{"ae_title": "VIEWER", "address": "10.1.0.0/16", "user": "eva#brno"}],
    )
    assert [(one.zone, one.projects) for one in settings.serve] == [
        ("brno", ("demo", "heart")),
        ("praha", ("heart",)),
    ]
    who = {secret: settings.bearer(secret) for secret in ("sesame", "swordfish", "guess")}
    assert [one and one.user for one in who.values()] == ["eva#brno", "jan#praha", None]
    assert digest not in repr(settings)
    assert settings.peer("VIEWER", "10.1.2.3").user == "eva#brno"
    assert settings.peer("VIEWER", "10.2.0.1") is None
    assert settings.peer("OTHER", "10.1.2.3") is None


@pytest.mark.parametrize(
    ("gateway", "message"),
    [
        ({"serve": [{"zone": "wien"}]}, "no zone named 'wien'"),
        ({"serve": [{"zone": "brno", "projects": ["a/b"]}]}, "without '/'"),
        ({"serve": [{"zone": "brno"}, {"zone": "brno"}]}, "serve: zone is given twice"),
        ({"peers": [{"ae_title": "A", "user": "eva"}]}, "name#zone"),
        ({"tokens": [{"name": "a", "user": "eva#brno"}]}, "either sha256"),
        ({"tokens": [{"name": "a", "user": "e#b", "token_file": "/none"}]}, "cannot read /none"),
        ({"tokens": [{"name": "a", "user": "e#b", "token": "plain"}]}, "there is no such key"),
        ({"destinations": [{"ae_title": "A", "host": "h", "port": 104, "tls": True}]}, "ca_file"),
        ({"cors_origins": ["*"]}, "an origin is scheme, host and port"),
        ({"key_file": "/k"}, "key_file needs cert_file"),
    ],
)
def test_an_invalid_setting_is_named(write: Any, gateway: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        write(**gateway)
    assert "plain" not in str(caught.value)
