"""The caller of a request: the iRODS user of a token, of a login, or of a surrounding application.

A program sends a token in the header field Authorization (RFC 6750): one of the site file's, or
one of the OpenID Connect provider. A browser sends a cookie that scripts cannot read and other
sites cannot have sent (``SameSite=Strict``): one of the site file's tokens, or the secret of a
login. With a cookie nothing can be stored.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio
from anyio.to_thread import run_sync
from starlette.exceptions import HTTPException
from starlette.requests import Request

from pacsgrid.config import GatewaySettings
from pacsgrid.errors import LoginRefusedError, NotAllowedError, RetryableError
from pacsgrid.gateway.logins import GatewayLogins
from pacsgrid.login import Identity
from pacsgrid.login.tokens import looks_like_jwt

log = logging.getLogger(__name__)

COOKIE = "pacsgrid_token"
LOGIN_COOKIE = "pacsgrid_login"
_CHALLENGE = 'Bearer realm="pacsgrid"'
# Logins that are checked at once: a provider that is slow holds up nothing else.
_AT_ONCE = 8


@dataclass(frozen=True)
class Caller:
    """An authenticated caller.

    Attributes
    ----------
    user
        The iRODS user, ``name#zone``, whose rights the caller has.
    store
        Whether the caller may store instances.
    results
        The name under which results that the caller stores are kept; empty if none may be.
    name
        The name of the token, of the user of Airflow, or the subject of a login.
    way
        How the caller gets what is retrieved, see `Disclosure.way`.
    """

    user: str
    store: bool = False
    results: str = ""
    name: str = ""
    way: str = "DICOMweb"

    @property
    def who(self) -> str:
        """Who it is, for the audit trail: the user, and the name of the token or account."""
        return f"{self.user} ({self.name})" if self.name else self.user


Who = Callable[[Request], Awaitable[Caller]]


def by_token(settings: GatewaySettings, logins: GatewayLogins | None = None) -> Who:
    """Return a function that identifies callers by the tokens of the settings, or by login.

    Parameters
    ----------
    settings
        The gateway's settings.
    logins
        The site's logins; None for a site without a provider.
    """
    limiter: anyio.CapacityLimiter | None = None

    async def asked(work: Callable[[str], Identity], secret: str) -> Identity:
        nonlocal limiter
        limiter = limiter or anyio.CapacityLimiter(_AT_ONCE)
        try:
            return await run_sync(work, secret, limiter=limiter)
        except NotAllowedError as error:
            log.warning("a login is refused: %s", error)
            header = {"WWW-Authenticate": f'{_CHALLENGE}, error="insufficient_scope"'}
            raise HTTPException(403, str(error), header) from None
        except LoginRefusedError as error:
            log.warning("a login is refused: %s", error)
            header = {"WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token"'}
            raise HTTPException(401, str(error), header) from None
        except RetryableError as error:
            log.warning("%s", error)
            raise HTTPException(503, str(error), {"Retry-After": "30"}) from None

    async def who(request: Request) -> Caller:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        token = token.strip() if scheme.lower() == "bearer" else ""
        known = settings.bearer(token) if token else None
        if known is not None:
            return Caller(known.user, known.store, known.results, known.name)
        if token and logins is not None and looks_like_jwt(token):
            one = await asked(logins.of_token, token)
            return Caller(one.user, one.store, one.results, one.subject)
        cookie = request.cookies.get(COOKIE, "") if not scheme else ""
        known = settings.bearer(cookie) if cookie else None
        if known is not None:
            return Caller(known.user, name=known.name)
        secret = request.cookies.get(LOGIN_COOKIE, "") if not scheme else ""
        if secret and logins is not None:
            one = await asked(logins.of_cookie, secret)
            return Caller(one.user, name=one.subject)
        what = "one of the gateway's tokens" if logins is None else "a token"
        raise HTTPException(
            401,
            f"send {what} in the header field Authorization: Bearer TOKEN",
            {"WWW-Authenticate": _CHALLENGE},
        )

    return who
