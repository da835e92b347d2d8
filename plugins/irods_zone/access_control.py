"""Access levels: checked, granted, revoked."""

from __future__ import annotations

from typing import Any

from . import tickets
from .catalog import LEVELS, OWN, READ
from .error_codes import ErrorCode
from .errors import IrodsError
from .session import Session


def require_access(
    session: Session, object_id: int, level: int, hidden: int = ErrorCode.CAT_NO_ACCESS_PERMISSION
) -> bool:
    """Refuse unless the user has this right; hidden is the code if he sees nothing at all.

    True if it is a ticket that lends the right.
    """
    if session.is_admin and (level <= READ or session.elevated):
        return False
    got = session.catalog.access_level(object_id, session.user_id)
    if got >= level:
        return False
    if session.ticket and tickets.grants(session, object_id, level):
        return True
    gone = "SELECT 1 FROM data WHERE id=? UNION ALL SELECT 1 FROM coll WHERE id=?"
    if not got and session.catalog.one(gone, object_id, object_id) is None:
        raise IrodsError(ErrorCode.OBJ_PATH_DOES_NOT_EXIST, "removed meanwhile")
    raise IrodsError(hidden if got < READ else ErrorCode.CAT_NO_ACCESS_PERMISSION, "no right")


DESCENDANTS = (
    "SELECT id FROM coll WHERE name=?1 OR (name>=?2 AND name<?3) UNION SELECT d.id FROM data d"
    " JOIN coll c ON c.id=d.coll_id WHERE c.name=?1 OR (c.name>=?2 AND c.name<?3)"
)


def require_owner(session: Session, path: str) -> tuple[int, bool]:
    """Id of what a path names, and whether it is a collection; for its owner."""
    coll = session.catalog.collection(path)
    row = coll or next(iter(session.catalog.replicas(path)), None)
    if row is None:
        raise IrodsError(ErrorCode.CAT_UNKNOWN_COLLECTION, path)
    require_access(session, row["id"], OWN)
    return int(row["id"]), coll is not None


def access_level(word: str) -> int:
    """The number of a right by its name."""
    if word not in LEVELS:
        raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, f"right {word}")
    return LEVELS[word]


def user_or_group_id(session: Session, name: str, zone: str) -> int:
    """Id of a user or group that a right is about."""
    base, _, own = name.partition("#")
    row = session.catalog.user(base, own or zone or session.zone.name)
    if row is None:
        raise IrodsError(ErrorCode.CAT_INVALID_USER, name)
    return int(row["id"])


def set_access(db: Any, object_id: int, user_id: int, level: int) -> None:
    """Give a right on one object in place of any other; the lowest takes it away."""
    db.execute("DELETE FROM access WHERE object_id=? AND user_id=?", (object_id, user_id))
    if level > LEVELS["null"]:
        db.execute("INSERT INTO access VALUES(?,?,?)", (object_id, user_id, level))
