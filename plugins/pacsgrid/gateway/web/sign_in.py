"""Log in at the gateway through the provider: the code flow with PKCE (RFC 6749, RFC 7636).

What a login begins with is kept in a cookie that is encrypted with the vault's key and lives ten
minutes; other gateways of the site read it too. The last step is a page that leads on by itself:
browsers send a cookie with ``SameSite=Strict`` only to requests that our own pages cause.
"""

from __future__ import annotations

import base64
import html
import logging
import time
from urllib.parse import quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from pacsgrid.errors import (
    ConfigError,
    LoginRefusedError,
    NotAllowedError,
    PacsgridError,
    RetryableError,
)
from pacsgrid.gateway.logins import GatewayLogins
from pacsgrid.gateway.web.authentication import LOGIN_COOKIE
from pacsgrid.ledger import Vault
from pacsgrid.login.provider import new_secret

log = logging.getLogger(__name__)

_STATE_COOKIE = "pacsgrid_login_state"
_STATE_SECONDS = 600
_REF = "login state"
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class SignIn:
    """The addresses of a login, below the researcher's page.

    Parameters
    ----------
    logins
        The gateway's logins.
    public_url
        The URL of DICOMweb as browsers reach it; the researcher's page is beside it.
    secure
        Whether browsers reach the gateway by HTTPS.
    """

    def __init__(self, logins: GatewayLogins, public_url: str, secure: bool) -> None:
        self._logins = logins
        self._page = f"{public_url.rpartition('/')[0]}/researcher"
        self._viewer = f"{urlsplit(public_url).path.rpartition('/')[0]}/viewer/"
        self._secure = secure
        self._vault = Vault(logins.logins.site.vault_key)

    @property
    def routes(self) -> list[Route]:
        """The routes: ``login`` begins, and the provider sends browsers back to ``login/done``."""
        return [
            Route("/login", self.begin, methods=["GET"]),
            Route("/login/done", self.done, methods=["GET"]),
        ]

    async def begin(self, request: Request) -> Response:
        """Send a browser to the provider."""
        state, nonce, verifier = new_secret(), new_secret(), new_secret()
        provider = self._logins.logins.provider
        try:
            target = await run_in_threadpool(
                provider.authorization_url, self._redirect, state, nonce, verifier
            )
        except PacsgridError as error:
            return self._refused(error)
        kept = {
            "state": state,
            "nonce": nonce,
            "verifier": verifier,
            "next": self._next(request.query_params.get("next", "")),
            "until": str(int(time.time()) + _STATE_SECONDS),
        }
        sealed = base64.urlsafe_b64encode(self._vault.seal(_REF, kept)).decode()
        answer = RedirectResponse(target, 303, _HEADERS)
        # The provider sends the browser back from another site.
        answer.set_cookie(
            *(_STATE_COOKIE, sealed),
            max_age=_STATE_SECONDS,
            path=urlsplit(self._redirect).path,
            secure=self._secure,
            httponly=True,
            samesite="lax",
        )
        return answer

    async def done(self, request: Request) -> Response:
        """Take the code that the browser brings back, and set the login's cookie."""
        try:
            kept = self._kept(request)
            if request.query_params.get("state") != kept["state"]:
                raise LoginRefusedError("the answer belongs to another login; log in again")
            if error := request.query_params.get("error"):
                known = error if error.replace("_", "").isalpha() and len(error) < 40 else "error"
                raise LoginRefusedError(f"the provider did not log you in ({known}); log in again")
            secret = new_secret()
            await run_in_threadpool(
                self._log_in, request.query_params.get("code", ""), secret, kept
            )
        except PacsgridError as error:
            return self._refused(error)
        target = html.escape(f"{urlsplit(self._page).path}/" if not kept["next"] else kept["next"])
        page = f'<meta http-equiv="refresh" content="0;url={target}"><a href="{target}">Go on</a>'
        answer = HTMLResponse(f"<!doctype html><title>Logged in</title>{page}", 200, _HEADERS)
        answer.set_cookie(
            *(LOGIN_COOKIE, secret),
            max_age=round(self._logins.logins.settings.session_hours * 3600),
            secure=self._secure,
            httponly=True,
            samesite="strict",
        )
        answer.delete_cookie(_STATE_COOKIE, path=urlsplit(self._redirect).path)
        return answer

    def _log_in(self, code: str, secret: str, kept: dict[str, str]) -> None:
        if not code:
            raise LoginRefusedError("the provider sent no code; log in again")
        provider = self._logins.logins.provider
        tokens = provider.exchange(code, self._redirect, kept["verifier"])
        self._logins.begin(secret, tokens, kept["nonce"])

    @property
    def _redirect(self) -> str:
        return f"{self._page}/login/done"

    def _kept(self, request: Request) -> dict[str, str]:
        try:
            sealed = base64.urlsafe_b64decode(request.cookies.get(_STATE_COOKIE, ""))
            kept = self._vault.open(_REF, sealed)
        except (ValueError, ConfigError):
            kept = {"until": "0"}
        if int(kept["until"]) < time.time():
            raise LoginRefusedError("the login took too long, or cookies are off; log in again")
        return kept

    def _next(self, given: str) -> str:
        """Return where to go after the login: the viewer beside this page, and nowhere else."""
        fine = given.startswith(self._viewer) and given.isprintable() and "\\" not in given
        return quote(given, safe="/?&=.%:,+~-_") if fine and "/../" not in given else ""

    def _refused(self, error: PacsgridError) -> Response:
        log.warning("a login failed: %s", error)
        status = 403 if isinstance(error, NotAllowedError) else 401
        if isinstance(error, RetryableError):
            status = 503
        elif not isinstance(error, LoginRefusedError):
            status = 500
        page = html.escape(f"{urlsplit(self._page).path}/")
        text = f'<p>{html.escape(str(error))}</p><p><a href="{page}">Back</a></p>'
        return HTMLResponse(f"<!doctype html><title>Login</title>{text}", status, _HEADERS)
