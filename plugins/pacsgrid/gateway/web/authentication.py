"""Who asks: a bearer token's iRODS user, or whoever the surrounding application says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request

from pacsgrid.config import GatewaySettings


@dataclass(frozen=True)
class Caller:
    """Someone who may ask, as the iRODS user whose rights they have; ``store`` if they may send."""

    user: str
    store: bool = False


Who = Callable[[Request], Awaitable[Caller]]


def by_token(settings: GatewaySettings) -> Who:
    """Tell callers by the bearer tokens of the settings (RFC 6750)."""

    async def who(request: Request) -> Caller:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        known = settings.bearer(token.strip()) if scheme.lower() == "bearer" else None
        if known is None:
            raise HTTPException(
                401,
                "give one of the gateway's tokens, as Authorization: Bearer TOKEN",
                {"WWW-Authenticate": 'Bearer realm="pacsgrid"'},
            )
        return Caller(known.user, known.store)

    return who
