"""An OpenID Connect provider for tests: it signs, rotates its keys, and can be silent.

Code flow with PKCE, refresh tokens that work once, client credentials, userinfo. People log in by
choosing their name.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "pacsgrid", "client secret of pacsgrid"


@dataclass
class Person:
    """Somebody with an account."""

    subject: str
    name: str
    groups: list[str] = field(default_factory=list)


class OidcProvider:
    """The provider, served in a thread as long as the context lives."""

    def __init__(self, groups_in_id_token: bool = True) -> None:
        self.people: dict[str, Person] = {}
        self.clients = {CLIENT: SECRET}
        self.services: dict[str, tuple[str, list[str]]] = {}  # secret and groups by client
        self.groups_in_id_token = groups_in_id_token
        self.refreshes, self.silent = True, False
        self.now: Callable[[], float] = time.time
        self.asked: list[str] = []
        self._codes: dict[str, dict[str, str]] = {}
        self._refresh: dict[str, str] = {}
        self._access: dict[str, str] = {}
        self.keys = [_key()]
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                given = {name: values[0] for name, values in parse_qs(parts.query).items()}
                self._send(*provider._get(parts.path, given, dict(self.headers)))

            def do_POST(self) -> None:
                size = int(self.headers.get("Content-Length", 0))
                form = parse_qs(self.rfile.read(size).decode())
                given = {name: values[0] for name, values in form.items()}
                self._send(*provider._post(urlsplit(self.path).path, given, dict(self.headers)))

            def _send(self, status: int, content: Any, headers: dict[str, str]) -> None:
                text = isinstance(content, str)
                body = content.encode() if text else json.dumps(content).encode()
                kind = "text/html; charset=utf-8" if text else "application/json"
                self.send_response(status)
                for name, value in {"Content-Type": kind, **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> OidcProvider:
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.shutdown()
        self._http.server_close()

    # -- what tests change ----------------------------------------------------------------

    def add(self, name: str, *groups: str) -> Person:
        """Give somebody an account; the subject tells nothing of the name."""
        subject = hashlib.sha256(f"person {name}".encode()).hexdigest()[:24]
        self.people[name] = Person(subject, name, list(groups))
        return self.people[name]

    def rotate(self) -> None:
        """Sign with a new key from now on; the old one is gone."""
        self.keys = [_key()]

    def end_refresh_tokens(self) -> None:
        """End every refresh token, as when an administrator ends sessions."""
        self._refresh.clear()

    def token(self, header: dict[str, Any] | None = None, key: Any = None, **claims: Any) -> str:
        """Return a signed access token with these claims; None leaves one out."""
        now = int(self.now())
        all_claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            **claims,
        }
        wanted = {name: value for name, value in all_claims.items() if value is not None}
        head = {"alg": "RS256", "kid": self.keys[0].kid, "typ": "at+jwt", **(header or {})}
        return jwt.encode(
            {name: value for name, value in head.items() if value is not None},
            wanted,
            key or self.keys[0],
            algorithms=[head["alg"]],
        )

    def token_of(self, name: str, **claims: Any) -> str:
        """Return an access token of somebody."""
        who = self.people[name]
        return self.token(sub=who.subject, groups=who.groups, preferred_username=name, **claims)

    # -- HTTP -----------------------------------------------------------------------------

    def _get(
        self, path: str, given: dict[str, str], headers: dict[str, str]
    ) -> tuple[int, Any, dict[str, str]]:
        self.asked.append(path)
        if self.silent:
            return 503, {}, {}
        if path == "/.well-known/openid-configuration":
            return 200, self._configuration(), {}
        if path == "/jwks":
            return 200, {"keys": [k.as_dict(private=False, use="sig") for k in self.keys]}, {}
        if path == "/userinfo":
            name = self._access.get(headers.get("Authorization", "").removeprefix("Bearer "))
            return (200, self._claims(self.people[name]), {}) if name else (401, {}, {})
        if path == "/authorize":
            return self._authorize(given)
        return 404, {}, {}

    def _configuration(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/jwks",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        }

    def _authorize(self, given: dict[str, str]) -> tuple[int, Any, dict[str, str]]:
        if given.get("client_id") not in self.clients or given.get("response_type") != "code":
            return 400, "no such client", {}
        if given.get("as") not in self.people:
            links = "".join(
                f'<li><a id="as-{html.escape(name)}" href="/authorize?'
                f'{html.escape(urlencode({**given, "as": name}))}">{html.escape(name)}</a></li>'
                for name in self.people
            )
            return 200, f"<!doctype html><title>Log in</title><ul>{links}</ul>", {}
        code = secrets.token_urlsafe(16)
        self._codes[code] = given
        back = {"code": code, "state": given.get("state", "")}
        return 302, "", {"Location": f"{given['redirect_uri']}?{urlencode(back)}"}

    def _post(
        self, path: str, given: dict[str, str], headers: dict[str, str]
    ) -> tuple[int, Any, dict[str, str]]:
        self.asked.append(path)
        if self.silent:
            return 503, {}, {}
        if path != "/token":
            return 404, {}, {}
        client, secret = self._client(given, headers)
        if given.get("grant_type") == "client_credentials":
            known = self.services.get(client)
            if known is None or known[0] != secret:
                return 401, {"error": "invalid_client"}, {}
            token = self.token(sub=f"service-{client}", groups=known[1])
            return 200, {"access_token": token, "token_type": "Bearer", "expires_in": 300}, {}
        if self.clients.get(client) != secret:
            return 401, {"error": "invalid_client"}, {}
        nonce = ""
        if given.get("grant_type") == "authorization_code":
            asked = self._codes.pop(given.get("code", ""), None)
            challenge = hashlib.sha256(given.get("code_verifier", "").encode()).digest()
            told = base64.urlsafe_b64encode(challenge).rstrip(b"=").decode()
            if (
                asked is None
                or asked.get("redirect_uri") != given.get("redirect_uri")
                or asked.get("code_challenge", told) != told
            ):
                return 400, {"error": "invalid_grant"}, {}
            name, nonce = asked["as"], asked.get("nonce", "")
        else:
            name = self._refresh.pop(given.get("refresh_token", ""), "")
            if name not in self.people:
                return 400, {"error": "invalid_grant"}, {}
        return 200, self._tokens(name, nonce), {}

    @staticmethod
    def _client(given: dict[str, str], headers: dict[str, str]) -> tuple[str, str]:
        kind, _, value = headers.get("Authorization", "").partition(" ")
        if kind == "Basic":
            pair = parse_qs("pair=" + base64.b64decode(value).decode().replace("&", "%26"))
            client, _, secret = pair["pair"][0].partition(":")
            return client, secret
        return given.get("client_id", ""), given.get("client_secret", "")

    def _claims(self, who: Person) -> dict[str, Any]:
        return {"sub": who.subject, "preferred_username": who.name, "groups": who.groups}

    def _tokens(self, name: str, nonce: str) -> dict[str, Any]:
        who = self.people[name]
        claims = self._claims(who)
        if not self.groups_in_id_token:
            del claims["groups"]
        access = self.token_of(name)
        self._access[access] = name
        made = {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": 300,
            "id_token": self.token({"typ": "JWT"}, nonce=nonce or None, **claims),
        }
        if self.refreshes:
            made["refresh_token"] = secrets.token_urlsafe(16)
            self._refresh[made["refresh_token"]] = name
        return made


def _key() -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": secrets.token_hex(8)})
