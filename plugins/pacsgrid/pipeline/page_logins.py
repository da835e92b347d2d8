"""Logins on Airflow's page, remembered for seconds: a page asks for dozens of things at once."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from functools import cache

from pacsgrid.config import load_site
from pacsgrid.errors import PacsgridError
from pacsgrid.ledger import Login
from pacsgrid.login.identity import PREFIX
from pacsgrid.pipeline.logins import Logins

_REMEMBERED_SECONDS, _MOST_REMEMBERED = 5.0, 2048
_known: dict[str, tuple[float, Login | None]] = {}
_lock = threading.Lock()


def page_login(username: str) -> Login | None:
    """Return the login of a user of the provider on Airflow's page; None if it has ended.

    Parameters
    ----------
    username
        The user's name in Airflow, with `PREFIX`.
    """
    with _lock:
        until, login = _known.get(username, (0.0, None))
    if until <= time.monotonic():
        try:
            login = site_logins().current_page(username.removeprefix(PREFIX))
        except PacsgridError:
            return None  # not known to last; asked again with the next request
        with _lock:
            if len(_known) >= _MOST_REMEMBERED:
                _known.clear()
            _known[username] = (time.monotonic() + _REMEMBERED_SECONDS, login)
    return login if login is not None and login.ends_at > datetime.now(UTC) else None


def forget(subject: str) -> None:
    """Ask the ledger anew about somebody's login with the next request."""
    with _lock:
        _known.pop(PREFIX + subject, None)


@cache
def site_logins() -> Logins:
    """Return the site's logins, one for the process."""
    return Logins(load_site())
