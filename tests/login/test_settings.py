"""The `login` section of a site file: what is wrong is named, and the secret is shown nowhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pacsgrid.config import LoginSettings, load_login, load_site
from pacsgrid.errors import ConfigError

SECRET = "sesame-7f3a"
READERS = {"group": "readers", "role": "researcher", "project": "lung"}
Write = Callable[..., LoginSettings]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.setenv("PACSGRID_LEDGER_DSN", "unused")
    (tmp_path / "key").write_bytes(bytes(32))
    (tmp_path / "secret").write_text(SECRET + "\n")
    (tmp_path / "empty").write_text("\n")
    zone = {"host": "h", "port": 1247, "user": "svc", "password_file": str(tmp_path / "key")}
    project = {"profile": "basic", "home_zone": "brno", "key_file": str(tmp_path / "key")}

    def site(gateway: dict[str, Any] | None = None, **login: Any) -> LoginSettings:
        content = {
            **{room: str(tmp_path / room) for room in ("staging", "outbox", "quarantine")},
            "vault_key_file": str(tmp_path / "key"),
            "sources": {},
            "zones": {"brno": zone},
            "projects": {"lung": project},
            "login": {
                "issuer": "https://login.example.org/realms/hospital",
                "client_id": "pacsgrid",
                "client_secret_file": str(tmp_path / "secret"),
                "groups": [READERS],
                **login,
            },
        }
        if gateway is not None:
            served = {"serve": [{"zone": "brno"}], "index": str(tmp_path / "index.sqlite")}
            content["gateway"] = served | gateway
        (tmp_path / "site.yaml").write_text(yaml.safe_dump(content))
        settings = load_site(tmp_path / "site.yaml").login
        assert settings is not None
        assert load_login(tmp_path / "site.yaml") == settings
        return settings

    return site


def test_the_secret_is_read_and_shown_nowhere(write: Write) -> None:
    settings = write(user_claim="preferred_username", user_zone="brno")
    assert settings.client_secret and settings.client_secret.get_secret_value() == SECRET
    assert SECRET not in repr(settings) and SECRET not in str(settings)
    assert settings.audience == "pacsgrid" and settings.create_users is False
    # The site's own account, which reads everything, is nobody's.
    assert settings.user_of_name("svc") == settings.user_of_name("SVC") == ""
    assert settings.user_of_name("eva") == "eva#brno"


@pytest.mark.parametrize(
    ("login", "message"),
    [
        ({"issuer": "http://login.example.org"}, "login.issuer: .*https"),
        ({"issuer": "https://login.example.org/?x=1"}, "login.issuer"),
        ({"client_id": ""}, "login.client_id"),
        ({"client_secret_file": "/none"}, "login: cannot read /none"),
        ({"client_secret_file": "empty"}, "client_secret_file: .* is empty"),
        ({"client_secret": "plain"}, "login.client_secret: there is no such key"),
        ({"ca_file": "/none"}, "login.ca_file: there is no file /none"),
        ({"algorithms": ["HS256"]}, "login.algorithms: not HS256"),
        ({"algorithms": ["none"]}, "login.algorithms: not none"),
        ({"algorithms": []}, "login.algorithms"),
        ({"scopes": ["profile"]}, "login.scopes: openid"),
        ({"groups": []}, "login.groups"),
        ({"groups": [{"group": "x", "role": "king"}]}, "login.groups entry 1, role"),
        ({"groups": [{"group": "x", "role": "steward"}]}, "entry 1: role steward needs a project"),
        ({"groups": [{**READERS, "role": "operator"}]}, "remove project"),
        ({"groups": [{**READERS, "role": "viewer", "store": True}]}, "for the role researcher"),
        ({"groups": [{**READERS, "store": True, "results": "a"}]}, "exclude each other"),
        ({"groups": [{**READERS, "project": "heart"}]}, "login.groups: no project named 'heart'"),
        ({"user_claim": "name"}, "user_claim needs user_zone"),
        ({"user_zone": "brno"}, "user_zone and user_zones need user_claim"),
        ({"user_claim": "name", "user_zone": "wien"}, "login.user_zone: no zone named 'wien'"),
        ({"users": {"s": "eva"}}, "login.users: .*name#zone"),
        ({"service_accounts": [{"subject": "s", "user": "r"}]}, "service_accounts entry 1, user"),
        (
            {"service_accounts": [{"subject": "s", "user": "r#brno"}] * 2},
            "service_accounts: subject is given twice",
        ),
        ({"token_minutes": 0}, "login.token_minutes"),
        ({"gateway": {}}, "gateway.public_url: login needs it"),
    ],
)
def test_a_wrong_setting_is_named(
    write: Write, tmp_path: Path, login: dict[str, Any], message: str
) -> None:
    if login.get("client_secret_file") == "empty":
        login = {"client_secret_file": str(tmp_path / "empty")}
    with pytest.raises(ConfigError, match=message) as caught:
        write(**login)
    assert SECRET not in str(caught.value) and "plain" not in str(caught.value)
