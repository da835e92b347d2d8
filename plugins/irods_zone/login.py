"""Native authentication: who a client is, proven with a challenge."""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import TYPE_CHECKING

from . import codes
from .wire import IrodsError

if TYPE_CHECKING:
    from .session import Session


def response_digest(challenge: bytes, password: str) -> bytes:
    """Native authentication's answer to a challenge."""
    padded = password.encode().ljust(50, b"\0")
    return hashlib.md5(challenge[:64] + padded).digest().replace(b"\0", b"\1")


def partner_password(key: str, user: str, zone: str) -> str:
    """What a partner server proves itself with for one of its users."""
    return hmac.new(key.encode(), f"{user}#{zone}".encode(), "sha256").hexdigest()[:48]


ANONYMOUS = "anonymous"  # needs no password, if the administrator made such a user


def password_ok(s: Session, digest: bytes) -> bool:
    """Check a client's answer to the session's challenge, and say who the session's user is.

    The proxy user is who authenticates; only an administrator may then act as another.
    """
    challenge, s.challenge = s.challenge, b""
    if not challenge:
        return False
    name, zone = s.proxy
    passwords = []
    partner = s.server.federate.get(zone)
    if zone != s.server.zone and partner is not None:
        passwords.append(partner_password(partner[2], name, zone))
    row = s.cat.user(name, zone)
    if row is None:
        return False
    if row["password"]:
        passwords.append(row["password"])
    if name == ANONYMOUS and row["type"] == "rodsuser":
        passwords.append("")
    if not any(
        hmac.compare_digest(response_digest(challenge, p), digest) for p in passwords
    ) and not _temporary_ok(s, row["id"], challenge, digest):
        return False
    if (name, zone) == (s.name, s.zone):
        s.user = row
    elif row["type"] == "rodsadmin":
        s.user = s.cat.user(s.name, s.zone)
    else:
        raise IrodsError(codes.SYS_PROXYUSER_NO_PRIV, f"{name} may not act as {s.name}")
    s.signature = "".join(f"{c:02x}" for c in challenge[:16])
    return s.user is not None


def _temporary_ok(s: Session, user_id: int, challenge: bytes, digest: bytes) -> bool:
    """Whether the answer was made with a temporary password; each is good for one login."""
    for row in s.cat.rows("SELECT * FROM temp_password WHERE user_id=?", user_id):
        if hmac.compare_digest(response_digest(challenge, row["password"]), digest):
            with s.cat.tx(durable=True) as db:
                db.execute("DELETE FROM temp_password WHERE password=?", (row["password"],))
            if row["expires"] < time.time():
                raise IrodsError(codes.CAT_PASSWORD_EXPIRED, "password expired")
            return True
    return False
