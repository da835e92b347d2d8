"""The OpenID Connect provider: its settings, its keys, and its token endpoint.

Keys are fetched when they are needed, and again when a token names one that is not known: once,
and never more often than every `_AGAIN_SECONDS`, so that made-up key IDs cost the provider nothing.
While it does not answer, the keys that are known go on for `_KEPT_SECONDS`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import requests
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey, RSAKey

from pacsgrid.config import LoginSettings
from pacsgrid.errors import LoginRefusedError, ProviderUnavailableError

log = logging.getLogger(__name__)

Key = RSAKey | ECKey | OKPKey
_TIMEOUT = (5, 10)
_MOST_ANSWER = 1 << 20
# How old keys may be before they are fetched anew, and how old while that fails.
_FRESH_SECONDS, _KEPT_SECONDS = 3600.0, 24 * 3600.0
_AGAIN_SECONDS = 30.0
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
# Errors of the token endpoint that are about our own settings, not about the person (RFC 6749 5.2).
_OURS = {"invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope"}


@dataclass(frozen=True)
class Tokens:
    """What the token endpoint answered; none of it is shown in a repr.

    Attributes
    ----------
    id_token, access_token, refresh_token
        The tokens; empty for one that was not given.
    """

    id_token: str = field(default="", repr=False)
    access_token: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)


class Provider:
    """A provider, as a client sees it; safe for any number of threads.

    Parameters
    ----------
    settings
        The site's login.
    clock
        Tells seconds that never go back.
    """

    def __init__(
        self, settings: LoginSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._lock = Lock()
        self._discovered: dict[str, Any] = {}
        self._keys: dict[str, Key] = {}
        self._fetched = self._tried = float("-inf")

    # -- keys -----------------------------------------------------------------------------

    def key(self, kid: str, kinds: tuple[str, ...]) -> Key:
        """Return the public key of a signature.

        Parameters
        ----------
        kid
            The key's ID in the token's header; empty if it names none.
        kinds
            The types of key (``kty``) that its algorithm takes.

        Raises
        ------
        LoginRefusedError
            The provider has no such key.
        ProviderUnavailableError
            The provider does not answer, and its keys are not known or too old.
        """
        age, found = self._clock() - self._fetched, self._find(kid, kinds)
        if found is not None and age <= _FRESH_SECONDS:
            return found
        # Who has a key does not wait for another's refresh.
        if self._lock.acquire(timeout=0 if found is not None and age <= _KEPT_SECONDS else 15):
            try:
                age = self._clock() - self._fetched
                found = self._find(kid, kinds)
                if found is None or age > _FRESH_SECONDS:
                    self._refresh(age)
                    found = self._find(kid, kinds)
            finally:
                self._lock.release()
        if found is None:
            raise LoginRefusedError(
                "the token is signed with a key that the provider does not have"
            )
        return found

    def _find(self, kid: str, kinds: tuple[str, ...]) -> Key | None:
        if kid:
            one = self._keys.get(kid)
            return one if one is not None and one.key_type in kinds else None
        fitting = [one for one in self._keys.values() if one.key_type in kinds]
        return fitting[0] if len(fitting) == 1 else None

    def _refresh(self, age: float) -> None:
        if self._clock() - self._tried < _AGAIN_SECONDS:
            if age > _KEPT_SECONDS:
                raise ProviderUnavailableError(
                    "login: the provider does not answer, and its keys are not known; try again"
                )
            return
        self._tried = self._clock()
        try:
            keys = _public_keys(self._get(self._endpoint("jwks_uri")))
        except ProviderUnavailableError as error:
            if age > _KEPT_SECONDS:
                raise
            log.warning("%s; the keys that are known go on", error)
            return
        self._keys, self._fetched = keys, self._clock()

    # -- login ----------------------------------------------------------------------------

    def authorization_url(self, redirect: str, state: str, nonce: str, verifier: str) -> str:
        """Return where a browser is sent to log in: the code flow with PKCE (RFC 7636).

        Parameters
        ----------
        redirect
            Where the provider sends the browser back to.
        state, nonce, verifier
            What `new_secret` returned, one for each.
        """
        digest = hashlib.sha256(verifier.encode()).digest()
        query = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": redirect,
            "scope": " ".join(self.settings.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        address = self.discovered("authorization_endpoint")
        return f"{address}{'&' if '?' in address else '?'}{urlencode(query)}"

    def exchange(self, code: str, redirect: str, verifier: str) -> Tokens:
        """Return the tokens for a code.

        Parameters
        ----------
        code
            The code that the browser brought.
        redirect, verifier
            As they were given to `authorization_url`.

        Raises
        ------
        LoginRefusedError
            The provider refuses the code.
        ProviderUnavailableError
            The provider does not answer.
        """
        return self._tokens(
            {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": redirect,
                "code_verifier": verifier,
            }
        )

    def refresh(self, refresh_token: str) -> Tokens:
        """Return new tokens; raise as `exchange` does."""
        return self._tokens({"grant_type": "refresh_token", "refresh_token": refresh_token})

    def userinfo(self, access_token: str) -> dict[str, Any]:
        """Return the claims of the userinfo endpoint (OpenID Connect Core 5.3).

        Raises
        ------
        LoginRefusedError
            The provider refuses the token, or has no such endpoint.
        ProviderUnavailableError
            The provider does not answer.
        """
        address = self.discovered("userinfo_endpoint")
        if not address:
            raise LoginRefusedError("login: the provider has no userinfo endpoint")
        return self._get(address, {"Authorization": f"Bearer {access_token}"})

    def discovered(self, name: str) -> str:
        """Return a setting of the provider; raise ProviderUnavailableError without an answer."""
        return self._endpoint(name)

    def _endpoint(self, name: str) -> str:
        if not self._discovered:
            issuer = self.settings.issuer
            found = self._get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
            if found.get("issuer") != issuer:
                raise ProviderUnavailableError(
                    "login.issuer: the provider calls itself otherwise; write its issuer exactly as"
                    " it is in its openid-configuration"
                )
            for one in (*_ENDPOINTS, "userinfo_endpoint"):
                address = found.get(one, "")
                secure = isinstance(address, str) and (
                    urlsplit(address).scheme == "https" or not issuer.startswith("https:")
                )
                if (one in _ENDPOINTS and not address) or not secure:
                    if not address and one not in _ENDPOINTS:
                        continue
                    raise ProviderUnavailableError(
                        f"login.issuer: the provider's {one} is no https address"
                    )
            self._discovered = found
        return str(self._discovered.get(name) or "")

    def _tokens(self, form: Mapping[str, str]) -> Tokens:
        settings, headers = self.settings, {"Accept": "application/json"}
        sent = {**form, "client_id": settings.client_id}
        if settings.client_secret is not None:
            secret = settings.client_secret.get_secret_value()
            methods = self.discovered_list("token_endpoint_auth_methods_supported")
            if "client_secret_basic" in methods or not methods:
                pair = f"{quote(settings.client_id, safe='')}:{quote(secret, safe='')}"
                headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
            else:
                sent["client_secret"] = secret
        status, found = self._ask("POST", self.discovered("token_endpoint"), headers, sent)
        if status >= 500 or status == 429:
            raise ProviderUnavailableError(f"login: the provider answered {status}; try again")
        error = found.get("error")
        if error in _OURS:
            raise ProviderUnavailableError(
                f"login: the provider refuses our client ({error}): check login.client_id, "
                "client_secret_file and the client's settings at the provider"
            )
        if status != 200:
            raise LoginRefusedError("the provider refuses the login; log in again")
        return Tokens(
            *(str(found.get(n) or "") for n in ("id_token", "access_token", "refresh_token"))
        )

    def discovered_list(self, name: str) -> list[str]:
        """Return a list among the provider's settings; empty if it has none."""
        self.discovered("token_endpoint")
        found = self._discovered.get(name)
        return [str(one) for one in found] if isinstance(found, list) else []

    def _get(self, address: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        status, found = self._ask("GET", address, {"Accept": "application/json", **(headers or {})})
        if status in (401, 403):
            raise LoginRefusedError("the provider refuses the login; log in again")
        if status != 200 or not found:
            raise ProviderUnavailableError(f"login: the provider answered {status} without JSON")
        return found

    def _ask(
        self,
        method: str,
        address: str,
        headers: Mapping[str, str],
        form: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, Any]]:
        ca_file = self.settings.ca_file
        try:
            with requests.request(
                method,
                address,
                headers=dict(headers),
                data=dict(form) if form else None,
                timeout=_TIMEOUT,
                verify=str(ca_file) if ca_file else True,
                allow_redirects=False,
                stream=True,
            ) as answer:
                content = answer.raw.read(_MOST_ANSWER + 1, decode_content=True)
                if len(content) > _MOST_ANSWER:
                    raise ProviderUnavailableError("login: the provider's answer is too long")
                try:
                    found = json.loads(content)
                except (ValueError, RecursionError):
                    found = None
                return answer.status_code, found if isinstance(found, dict) else {}
        except (requests.RequestException, OSError) as error:
            raise ProviderUnavailableError(
                f"login: the provider at {urlsplit(address).netloc} does not answer "
                f"({type(error).__name__}); try again"
            ) from None


def new_secret() -> str:
    """Return a text that nobody can guess, for a state, a nonce, a verifier or a cookie."""
    return secrets.token_urlsafe(32)


def _public_keys(found: Mapping[str, Any]) -> dict[str, Key]:
    """Return the keys for signatures in a key set; those that we cannot use are left out."""
    keys: dict[str, Key] = {}
    listed = found.get("keys")
    for number, one in enumerate(listed if isinstance(listed, list) else ()):
        if not isinstance(one, dict) or one.get("kty") not in ("RSA", "EC", "OKP"):
            continue
        if one.get("use", "sig") != "sig":
            continue
        try:
            (key,) = KeySet.import_key_set({"keys": [one]}).keys
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        if not isinstance(key, OctKey):
            keys[str(one.get("kid") or f" {number}")] = key
    return keys
