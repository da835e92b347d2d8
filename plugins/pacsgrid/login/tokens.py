"""Verify JSON Web Tokens (RFC 7519) of the provider, as RFC 8725 and RFC 9068 advise.

Nothing in a token's header decides which key is used, except the ID among the provider's own keys:
`jku`, `jwk`, `x5u` and `x5c` are ignored. Messages quote nothing of a token.
"""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError

from pacsgrid.errors import LoginRefusedError
from pacsgrid.login.provider import Provider

MOST_TOKEN = 16 << 10
_KINDS = {"RS": ("RSA",), "PS": ("RSA",), "ES": ("EC",), "Ed": ("OKP",)}
# Marks of tokens that are not for services: ID tokens, and Keycloak's own kinds.
_NO_ACCESS = ("nonce", "at_hash", "c_hash")
_NO_ACCESS_TYPES = ("ID", "Refresh", "Offline", "Logout")


def looks_like_jwt(text: str) -> bool:
    """Return whether a text has the form of a signed token."""
    return text.count(".") == 2 and text.startswith("eyJ")


def unverified_issuer(token: str) -> str:
    """Return who a token says made it, to choose how it is verified; empty if it says nothing."""
    try:
        found = _decoded(token.split(".")[1]).get("iss") if len(token) <= MOST_TOKEN else ""
    except LoginRefusedError:
        return ""
    return found if isinstance(found, str) else ""


def verify_access_token(
    provider: Provider, token: str, now: Callable[[], float] = time.time
) -> dict[str, Any]:
    """Return the claims of a bearer token.

    Parameters
    ----------
    provider
        The provider that must have made it.
    token
        The token.
    now
        Tells the current time.

    Raises
    ------
    LoginRefusedError
        The token is not valid, not for this audience, or too old.
    ProviderUnavailableError
        The provider's keys cannot be had.
    """
    _, claims = _verified(provider, token)
    settings = provider.settings
    _check(provider, claims, settings.audience, now())
    if any(name in claims for name in _NO_ACCESS) or claims.get("typ") in _NO_ACCESS_TYPES:
        raise LoginRefusedError("this is an ID token or a refresh token; send an access token")
    issued = _time(claims, "iat")
    if issued is None or now() - issued > settings.token_minutes * 60 + settings.leeway_seconds:
        raise LoginRefusedError(
            f"the token is older than {settings.token_minutes} minutes (login.token_minutes); get a"
            " new one"
        )
    return claims


def verify_id_token(
    provider: Provider, token: str, nonce: str, now: Callable[[], float] = time.time
) -> dict[str, Any]:
    """Return the claims of an ID token (OpenID Connect Core 3.1.3.7).

    Parameters
    ----------
    provider
        The provider that must have made it.
    token
        The token.
    nonce
        The nonce that the login began with; empty for a refreshed one, which may have none.
    now
        Tells the current time.

    Raises
    ------
    LoginRefusedError
        The token is not valid, or not for this login.
    ProviderUnavailableError
        The provider's keys cannot be had.
    """
    header, claims = _verified(provider, token)
    client = provider.settings.client_id
    _check(provider, claims, client, now())
    if str(header.get("typ", "JWT")).lower() == "at+jwt":
        raise LoginRefusedError("the provider sent an access token in place of an ID token")
    if claims.get("azp", client) != client:
        raise LoginRefusedError("the ID token was made for another client")
    if nonce and not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
        raise LoginRefusedError("the ID token belongs to another login; log in again")
    return claims


def _verified(provider: Provider, token: str) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Return the header and the claims of a token whose signature is right."""
    if len(token) > MOST_TOKEN:
        raise LoginRefusedError(f"the token is longer than {MOST_TOKEN >> 10} KiB")
    if not token.isascii() or token.count(".") != 2:
        raise LoginRefusedError("this is no signed token (JWS, RFC 7515)")
    header = _decoded(token.partition(".")[0])
    algorithm, kid = header.get("alg"), header.get("kid", "")
    if not isinstance(algorithm, str) or algorithm not in provider.settings.algorithms:
        raise LoginRefusedError("the token's algorithm is none of login.algorithms")
    if "crit" in header or not isinstance(kid, str):
        raise LoginRefusedError("the token's header asks for what is not understood here")
    key = provider.key(kid, _KINDS[algorithm[:2]])
    try:
        signed = jws.deserialize_compact(token, key, algorithms=[algorithm])
        claims = json.loads(signed.payload)
    except (JoseError, ValueError, TypeError, RecursionError):
        raise LoginRefusedError("the token's signature is wrong") from None
    if not isinstance(claims, dict):
        raise LoginRefusedError("the token has no claims")
    return header, claims


def _decoded(part: str) -> dict[str, Any]:
    try:
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise LoginRefusedError("this is no signed token (JWS, RFC 7515)")
    return found


def _check(provider: Provider, claims: Mapping[str, Any], audience: str, now: float) -> None:
    """Check issuer, audience, subject and times (RFC 7519 4.1)."""
    leeway = provider.settings.leeway_seconds
    if claims.get("iss") != provider.settings.issuer:
        raise LoginRefusedError("the token is of another issuer")
    named = claims.get("aud")
    if audience not in ([named] if isinstance(named, str) else named or ()):
        raise LoginRefusedError("the token is for another audience (login.audience)")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= 255:
        raise LoginRefusedError("the token names no subject")
    ends = _time(claims, "exp")
    if ends is None or now >= ends + leeway:
        raise LoginRefusedError("the token has expired; get a new one")
    for name in ("nbf", "iat"):
        starts = _time(claims, name)
        if starts is not None and now < starts - leeway:
            raise LoginRefusedError("the token is not valid yet; compare the clocks")


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e12:
        raise LoginRefusedError(f"the token's {name} is no time")
    return float(value)
