"""Native authentication: the client proves its password by answering a challenge."""

from __future__ import annotations

import hmac
import sqlite3
import time

from .challenge_response import partner_password, response_digest
from .error_codes import ErrorCode
from .errors import IrodsError
from .session import Session

ANONYMOUS = "anonymous"  # needs no password, if the administrator made such a user


def authenticate(session: Session, digest: bytes) -> None:
    """Check the answer to the session's challenge and set the session's user.

    Parameters
    ----------
    session : Session
        The connection, with the names from its startup message.
    digest : bytes
        The client's answer.

    Raises
    ------
    IrodsError
        CAT_INVALID_AUTHENTICATION for a wrong answer; CAT_PASSWORD_EXPIRED for an expired
        temporary password; SYS_PROXYUSER_NO_PRIV if a user who is no administrator wants to act
        as another.
    """
    challenge, session.challenge = session.challenge, b""
    name, zone = session.proxy
    proxy = session.catalog.user(name, zone)
    if not challenge or proxy is None or not _is_right(session, proxy, challenge, digest):
        raise IrodsError(ErrorCode.CAT_INVALID_AUTHENTICATION, "wrong password")
    if (name, zone) == (session.user_name, session.user_zone):
        session.user = proxy
    elif proxy["type"] == "rodsadmin":
        session.user = session.catalog.user(session.user_name, session.user_zone)
    else:
        raise IrodsError(
            ErrorCode.SYS_PROXYUSER_NO_PRIV, f"{name} may not act as {session.user_name}"
        )
    session.signature = challenge[:16].hex()
    if session.user is None:
        raise IrodsError(ErrorCode.CAT_INVALID_AUTHENTICATION, "no such user")


def _is_right(session: Session, user: sqlite3.Row, challenge: bytes, digest: bytes) -> bool:
    """Return whether an answer was made with one of a user's passwords."""
    name, zone = user["name"], user["zone"]
    passwords = [user["password"]] if user["password"] else []
    partner = session.zone.partners.get(zone)
    if zone != session.zone.name and partner is not None:
        passwords.append(partner_password(partner[2], name, zone))
    if name == ANONYMOUS and user["type"] == "rodsuser":
        passwords.append("")
    return any(
        hmac.compare_digest(response_digest(challenge, p), digest) for p in passwords
    ) or _is_temporary(session, user["id"], challenge, digest)


def _is_temporary(session: Session, user_id: int, challenge: bytes, digest: bytes) -> bool:
    """Return whether an answer was made with a temporary password; use that password up."""
    for row in session.catalog.rows("SELECT * FROM temp_password WHERE user_id=?", user_id):
        if hmac.compare_digest(response_digest(challenge, row["password"]), digest):
            with session.catalog.transaction(durable=True) as db:
                db.execute("DELETE FROM temp_password WHERE password=?", (row["password"],))
            if row["expires"] < time.time():
                raise IrodsError(ErrorCode.CAT_PASSWORD_EXPIRED, "password expired")
            return True
    return False
