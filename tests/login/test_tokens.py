"""Tokens of a provider that really signs: those that are taken, and many that are not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from pacsgrid.config.login import LoginSettings
from pacsgrid.errors import LoginRefusedError, NotAllowedError, ProviderUnavailableError
from pacsgrid.login import Identity, Provider, identity_of, verify_access_token, verify_id_token
from support.oidc_provider import CLIENT, OidcProvider

STRANGER = RSAKey.generate_key(2048)


@dataclass
class Clock:
    at: float = 1000.0

    def __call__(self) -> float:
        return self.at


def settings_for(provider: OidcProvider, **more: Any) -> LoginSettings:
    given = {
        "issuer": provider.issuer,
        "client_id": CLIENT,
        "audience": CLIENT,
        "groups": [{"group": "lung-readers", "role": "researcher", "project": "lung"}],
        **more,
    }
    return LoginSettings.model_validate(given)


@pytest.fixture(scope="module")
def oidc() -> Iterator[OidcProvider]:
    with OidcProvider() as provider:
        yield provider


@pytest.fixture
def provider(oidc: OidcProvider) -> Provider:
    return Provider(settings_for(oidc))


def test_a_token_of_the_provider_is_taken(oidc: OidcProvider, provider: Provider) -> None:
    assert verify_access_token(provider, oidc.token(sub="f3a"))["sub"] == "f3a"
    assert verify_access_token(provider, oidc.token(sub="f3a", aud=["other", CLIENT]))
    # The clocks may differ a little.
    now = int(time.time())
    assert verify_access_token(provider, oidc.token(sub="f3a", exp=now - 10))
    assert verify_access_token(provider, oidc.token(sub="f3a", nbf=now + 10, iat=now + 10))


def _unsigned(oidc: OidcProvider) -> str:
    _, claims, _ = oidc.token(sub="f3a").split(".")
    return f"{_part({'alg': 'none', 'typ': 'JWT'})}.{claims}."


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _with_public_key_as_secret(oidc: OidcProvider) -> str:
    public = oidc.keys[0].as_pem(private=False)
    now = int(time.time())
    claims = {"iss": oidc.issuer, "aud": CLIENT, "sub": "f3a", "iat": now, "exp": now + 300}
    signed = f"{_part({'alg': 'HS256', 'kid': oidc.keys[0].kid})}.{_part(claims)}"
    code = hmac.new(public, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(code).rstrip(b'=').decode()}"


def _changed(oidc: OidcProvider) -> str:
    head, claims, signature = oidc.token(sub="f3a").split(".")
    inside = json.loads(base64.urlsafe_b64decode(claims + "=="))
    return f"{head}.{_part({**inside, 'sub': 'other'})}.{signature}"


def _with_own_key(oidc: OidcProvider, **header: Any) -> str:
    """Return a token that is signed with a stranger's key, which its header brings along."""
    header = {"kid": oidc.keys[0].kid, "jwk": STRANGER.as_dict(private=False), **header}
    now = int(time.time())
    claims = {"iss": oidc.issuer, "aud": CLIENT, "sub": "f3a", "iat": now, "exp": now + 300}
    return jwt.encode({"alg": "RS256", **header}, claims, STRANGER)


ATTACKS = {
    "wrong audience": (lambda o: o.token(sub="f3a", aud="other"), "audience"),
    "no audience": (lambda o: o.token(sub="f3a", aud=None), "audience"),
    "wrong issuer": (lambda o: o.token(sub="f3a", iss="http://127.0.0.1:1"), "issuer"),
    "expired": (lambda o: o.token(sub="f3a", exp=int(time.time()) - 60), "expired"),
    "without end": (lambda o: o.token(sub="f3a", exp=None), "expired"),
    "end is a text": (lambda o: o.token(sub="f3a", exp="9999999999"), "no time|signature"),
    "not yet": (lambda o: o.token(sub="f3a", nbf=int(time.time()) + 600), "not valid yet"),
    "old": (
        lambda o: o.token(sub="f3a", iat=int(time.time()) - 3600, exp=int(time.time()) + 3600),
        "older than 15 minutes",
    ),
    "without beginning": (lambda o: o.token(sub="f3a", iat=None), "older"),
    "no subject": (lambda o: o.token(), "no subject"),
    "subject is a list": (lambda o: o.token(sub=["f3a"]), "no subject|signature"),
    "alg none": (_unsigned, "algorithm"),
    "HS256 with the public key": (_with_public_key_as_secret, "algorithm"),
    "changed": (_changed, "signature"),
    "key in its header": (_with_own_key, "signature"),
    "key at an address": (lambda o: _with_own_key(o, jku="http://127.0.0.1:1/jwks"), "signature"),
    "unknown key": (lambda o: _with_own_key(o, kid="stranger"), "does not have"),
    "critical header": (lambda o: o.token({"crit": ["b64"], "b64": True}, sub="f3a"), "header"),
    "ID token": (lambda o: o.token(sub="f3a", nonce="n"), "ID token"),
    "refresh token": (lambda o: o.token(sub="f3a", typ="Refresh"), "ID token or a refresh"),
    "huge": (lambda o: o.token(sub="f3a", groups=["g" * 100] * 200), "longer than 16 KiB"),
    "no token": (lambda o: "eyJ.eyJ.x", "no signed token"),
    "nested": (lambda o: f"{_part('x')}.{_part({})}.x", "no signed token"),
    "header is deep": (lambda o: "e30." + "A" * 50 + ".x", "algorithm"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_token_that_is_not_right_is_refused(
    oidc: OidcProvider, provider: Provider, name: str
) -> None:
    make, why = ATTACKS[name]
    token = make(oidc)
    with pytest.raises(LoginRefusedError, match=why) as caught:
        verify_access_token(provider, token)
    assert "f3a" not in str(caught.value)


def test_a_key_in_the_key_set_fits_its_algorithm_only(oidc: OidcProvider) -> None:
    provider = Provider(settings_for(oidc, algorithms=["ES256"]))
    with pytest.raises(LoginRefusedError, match="algorithm"):
        verify_access_token(provider, oidc.token(sub="f3a"))
    header = {"alg": "ES256", "kid": oidc.keys[0].kid}
    token = f"{_part(header)}.{_part({})}.{_part('x')}"
    with pytest.raises(LoginRefusedError, match="does not have"):
        verify_access_token(provider, token)


def test_keys_are_fetched_again_once_when_they_change(oidc: OidcProvider) -> None:
    clock = Clock()
    provider = Provider(settings_for(oidc), clock)
    assert verify_access_token(provider, oidc.token(sub="f3a"))
    oidc.rotate()
    clock.at += 31
    oidc.asked.clear()
    assert verify_access_token(provider, oidc.token(sub="f3a"))
    # Made-up keys cost the provider one question in half a minute.
    for _ in range(20):
        with pytest.raises(LoginRefusedError, match="does not have"):
            verify_access_token(provider, _with_own_key(oidc, kid="stranger"))
    assert oidc.asked.count("/jwks") == 1
    clock.at += 31
    with pytest.raises(LoginRefusedError):
        verify_access_token(provider, _with_own_key(oidc, kid="stranger"))
    assert oidc.asked.count("/jwks") == 2


def test_known_keys_go_on_while_the_provider_is_silent() -> None:
    clock = Clock()
    with OidcProvider() as oidc:
        provider = Provider(settings_for(oidc), clock)
        token = oidc.token(sub="f3a")
        oidc.silent = True
        with pytest.raises(ProviderUnavailableError):
            verify_access_token(provider, token)
        asked = len(oidc.asked)
        with pytest.raises(ProviderUnavailableError):  # and it is not asked each time
            verify_access_token(provider, token)
        assert len(oidc.asked) == asked
        oidc.silent = False
        clock.at += 31
        assert verify_access_token(provider, token)
        oidc.silent = True
        clock.at += 3700
        assert verify_access_token(provider, token)
        clock.at += 25 * 3600
        with pytest.raises(ProviderUnavailableError):
            verify_access_token(provider, token)


def test_a_provider_that_calls_itself_otherwise_is_not_taken(oidc: OidcProvider) -> None:
    provider = Provider(settings_for(oidc, issuer=oidc.issuer + "/"))
    with pytest.raises(ProviderUnavailableError, match=r"login\.issuer"):
        verify_access_token(provider, oidc.token(sub="f3a"))


def test_an_id_token_belongs_to_one_login_of_one_client(
    oidc: OidcProvider, provider: Provider
) -> None:
    good = oidc.token({"typ": "JWT"}, sub="f3a", nonce="n1")
    assert verify_id_token(provider, good, "n1")["sub"] == "f3a"
    for token, why in (
        (good, "another login"),
        (oidc.token({"typ": "JWT"}, sub="f3a"), "another login"),
        (oidc.token({"typ": "JWT"}, sub="f3a", nonce="n2", azp="other"), "another client"),
        (oidc.token({"typ": "JWT"}, sub="f3a", nonce="n2", aud="other"), "audience"),
        (oidc.token(sub="f3a", nonce="n2"), "access token"),
    ):
        with pytest.raises(LoginRefusedError, match=why):
            verify_id_token(provider, token, "n2")


def test_claims_are_mapped_to_users_and_groups(oidc: OidcProvider) -> None:
    settings = settings_for(
        oidc,
        group_claim="realm.roles",
        user_claim="name",
        user_zone="brno",
        user_zones={"lf1.cuni.cz": "lf1"},
        users={"s1": "jan#praha"},
        service_accounts=[{"subject": "robot", "user": "robot#brno", "store": True}],
        groups=[
            {"group": "r", "role": "researcher", "project": "lung", "results": "nodules"},
            {"group": "s", "role": "steward", "project": "lung"},
            {"group": "v", "role": "viewer", "project": "lung"},
            {"group": "o", "role": "operator"},
        ],
    )

    def who(subject: str, name: object = None, *groups: str) -> Any:
        return identity_of(
            settings, {"sub": subject, "name": name, "realm": {"roles": list(groups)}}
        )

    eva = who("s2", "eva", "r", "s", "unknown")
    assert (eva.user, eva.reads, eva.results) == ("eva#brno", ["lung"], "nodules")
    assert eva.airflow_roles == ["Steward lung"] and eva.researches
    assert who("s2", "eva@lf1.cuni.cz", "r").user == "eva#lf1"
    assert who("s1", "eva", "r").user == "jan#praha"
    assert who("s2", "eva", "v", "o").airflow_roles == ["Operator", "Viewer lung"]
    assert not who("s2", "eva", "o").researches
    for name in ("rods", "Rods", "a b", "../x", "eva@example.org", "eva#praha", "", 7, None):
        assert who("s2", name, "r").user == ""
    robot = identity_of(settings, {"sub": "robot"})
    assert (robot.user, robot.store, robot.researches) == ("robot#brno", True, True)
    # A group that the site file does not name any more gives nothing.
    assert not Identity("i", "s2", "eva#brno").researches
    for claims in (
        {"sub": "s2"},
        {"sub": "s2", "realm": {"roles": ["unknown"]}},
        {"sub": "s2", "realm": "r"},
        {"sub": "s2", "realm": {"roles": {"r": 1}}},
        {"sub": "s1\n2", "realm": {"roles": ["r"]}},
    ):
        with pytest.raises(NotAllowedError):
            identity_of(settings, claims)
