"""The caller of a request: the iRODS user of a token, or of a surrounding application.

A program sends the token in the header field Authorization (RFC 6750). A browser sends it as a
cookie that scripts cannot read and other sites cannot have sent (``SameSite=Strict``); with a
cookie nothing can be stored.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request

from pacsgrid.config import GatewaySettings

COOKIE = "pacsgrid_token"


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
        The name of the token, or of the user of Airflow.
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


def by_token(settings: GatewaySettings) -> Who:
    """Return a function that identifies callers by the tokens of the settings."""

    async def who(request: Request) -> Caller:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        known = settings.bearer(token.strip()) if scheme.lower() == "bearer" else None
        if known is not None:
            return Caller(known.user, known.store, known.results, known.name)
        cookie = request.cookies.get(COOKIE, "") if not scheme else ""
        known = settings.bearer(cookie) if cookie else None
        if known is not None:
            return Caller(known.user, name=known.name)
        raise HTTPException(
            401,
            "send one of the gateway's tokens in the header field Authorization: Bearer TOKEN",
            {"WWW-Authenticate": 'Bearer realm="pacsgrid"'},
        )

    return who
