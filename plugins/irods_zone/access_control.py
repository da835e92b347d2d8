"""Access levels: checking, granting and revoking them."""

from __future__ import annotations

import sqlite3

from . import tickets
from .catalog import LEVELS, OWN, READ
from .error_codes import ErrorCode
from .errors import IrodsError
from .session import Session


def require_access(
    session: Session, object_id: int, level: int, hidden: int = ErrorCode.CAT_NO_ACCESS_PERMISSION
) -> bool:
    """Check that the user has an access level on an object.

    Administrators can read everything; for more they must ask to disregard access levels.

    Parameters
    ----------
    session : Session
        The client's connection.
    object_id : int
        Id of a data object or collection.
    level : int
        The access level needed, such as `irods_zone.catalog.READ`.
    hidden : int
        Error code for users who may not even know of the object.

    Returns
    -------
    bool
        Whether the access comes from a ticket, whose limits then apply.

    Raises
    ------
    IrodsError
        The user has no such access, or the object was removed.
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
    raise IrodsError(hidden if got < READ else ErrorCode.CAT_NO_ACCESS_PERMISSION, "no access")


DESCENDANTS = (
    "SELECT id FROM coll WHERE name=?1 OR (name>=?2 AND name<?3) UNION SELECT d.id FROM data d"
    " JOIN coll c ON c.id=d.coll_id WHERE c.name=?1 OR (c.name>=?2 AND c.name<?3)"
)


def require_owner(session: Session, path: str) -> tuple[int, bool]:
    """Check that the user owns what a path names.

    Parameters
    ----------
    session : Session
        The client's connection.
    path : str
        Logical path of a data object or collection.

    Returns
    -------
    int
        Its id.
    bool
        Whether it is a collection.

    Raises
    ------
    IrodsError
        CAT_UNKNOWN_COLLECTION if nothing has this path; CAT_NO_ACCESS_PERMISSION.
    """
    coll = session.catalog.collection(path)
    row = coll or next(iter(session.catalog.replicas(path)), None)
    if row is None:
        raise IrodsError(ErrorCode.CAT_UNKNOWN_COLLECTION, path)
    require_access(session, row["id"], OWN)
    return int(row["id"]), coll is not None


def access_level(word: str) -> int:
    """Return the number of an access level; raise CAT_INVALID_ARGUMENT for an unknown name."""
    if word not in LEVELS:
        raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, f"unknown access level {word}")
    return LEVELS[word]


def require_user(session: Session, name: str, zone: str = "") -> sqlite3.Row:
    """Return the row of a user or group.

    Parameters
    ----------
    session : Session
        The client's connection.
    name : str
        Name, or name and zone as in ``rods#tempZone``.
    zone : str
        Zone if the name has none; by default this zone.

    Returns
    -------
    sqlite3.Row
        The user or group.

    Raises
    ------
    IrodsError
        CAT_INVALID_USER: there is none.
    """
    base, _, own = name.partition("#")
    row = session.catalog.user(base, own or zone or session.zone.name)
    if row is None:
        raise IrodsError(ErrorCode.CAT_INVALID_USER, name)
    return row


def set_access(db: sqlite3.Connection, object_id: int, user_id: int, level: int) -> None:
    """Set the access level of a user on one object, whatever it was.

    Parameters
    ----------
    db : sqlite3.Connection
        The open transaction.
    object_id : int
        Id of a data object or collection.
    user_id : int
        Id of a user or group.
    level : int
        The new level; that of ``null`` revokes all access.
    """
    db.execute("DELETE FROM access WHERE object_id=? AND user_id=?", (object_id, user_id))
    if level > LEVELS["null"]:
        db.execute("INSERT INTO access VALUES(?,?,?)", (object_id, user_id, level))
