"""Logins at the gateway: whom a token or a cookie stands for, remembered for seconds."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

from pacsgrid.errors import LoginRefusedError, NotAllowedError
from pacsgrid.gateway.core import Gateway
from pacsgrid.login import Identity, Tokens
from pacsgrid.pipeline.logins import GATEWAY, Logins, cookie_id

# How long an answer of the ledger is used: a viewer asks for hundreds of frames a minute.
_REMEMBERED_SECONDS = 5.0
_MOST_REMEMBERED = 5000
_NONE = "your login has ended; log in again"


class GatewayLogins:
    """The logins of a gateway; safe for any number of threads.

    Parameters
    ----------
    gateway
        The gateway, whose site has a login.
    remembered_seconds
        How long an answer of the ledger is used.
    """

    def __init__(self, gateway: Gateway, remembered_seconds: float = _REMEMBERED_SECONDS) -> None:
        self.logins = Logins(gateway.site, gateway.now)
        self._now = gateway.now
        self._seconds = remembered_seconds
        # The gateway's own accounts in the zones, which read everything.
        self._accounts = {
            f"{one.settings.user}#{one.settings.name}" for one in gateway.zone_pool.served
        }
        self._lock = threading.Lock()
        self._known: dict[str, tuple[datetime, Identity, datetime]] = {}

    def of_token(self, token: str) -> Identity:
        """Return whom a bearer token of the provider stands for.

        Parameters
        ----------
        token
            The token.

        Raises
        ------
        LoginRefusedError
            The token is not valid, or was made before its subject left the site's groups.
        NotAllowedError
            Its subject has no rights here.
        ProviderUnavailableError, RetryableError
            The provider's keys cannot be had, or the ledger does not answer.
        """
        return self._allowed(self.logins.of_token(token))

    def of_cookie(self, secret: str) -> Identity:
        """Return whose login a cookie's secret belongs to.

        Parameters
        ----------
        secret
            The secret.

        Raises
        ------
        LoginRefusedError
            The login has ended, or there is none.
        NotAllowedError
            The site file gives none of the person's groups a right at the gateway any more.
        ProviderUnavailableError, RetryableError
            The login was not confirmed for too long, or the ledger does not answer.
        """
        name = cookie_id(secret)
        with self._lock:
            known = self._known.get(name)
        if known is not None and min(known[0], known[2]) > self._now():
            return known[1]
        login = self.logins.current(name)
        if login is None or login.place != GATEWAY:
            raise LoginRefusedError(_NONE)
        who = self._allowed(self.logins.identity(login))
        self._remember(name, (self._until(), who, login.ends_at))
        return who

    def begin(self, secret: str, tokens: Tokens, nonce: str) -> Identity:
        """Enter a login at the gateway, and let iRODS follow.

        Parameters
        ----------
        secret
            The secret that its cookie will have.
        tokens
            What the provider gave for the code.
        nonce
            The nonce that the login began with.

        Returns
        -------
        Identity
            Whose login it is.

        Raises
        ------
        LoginRefusedError
            As `Logins.begin`.
        ProviderUnavailableError, RetryableError
            The provider or the ledger does not answer.
        """
        who = self._allowed(self.logins.begin(GATEWAY, tokens, nonce, secret))
        self.logins.settle()
        return who

    def end(self, secret: str) -> None:
        """End the login of a cookie's secret; its rights in iRODS go with it."""
        self.logins.end(cookie_id(secret))
        with self._lock:
            self._known.pop(cookie_id(secret), None)
        self.logins.settle()

    def _allowed(self, who: Identity) -> Identity:
        if not who.researches:
            raise NotAllowedError(
                "you have no user in iRODS here, or none of your groups is of researchers; ask the"
                " site's data steward"
            )
        if who.user in self._accounts:
            raise NotAllowedError("the account of the gateway itself is not for logins")
        return who

    def _until(self) -> datetime:
        return self._now() + timedelta(seconds=self._seconds)

    def _remember(self, name: str, what: tuple[datetime, Identity, datetime]) -> None:
        with self._lock:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[name] = what


def logins_of(gateway: Gateway) -> GatewayLogins | None:
    """Return the logins of a gateway; None for a site without a provider."""
    return GatewayLogins(gateway) if gateway.site.login is not None else None
