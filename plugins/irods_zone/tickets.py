"""Tickets: access by a secret string, within the limits that its owner set."""

from __future__ import annotations

import socket
import sqlite3
import time

from .catalog import READ, WRITE, timestamp
from .error_codes import ErrorCode
from .errors import IrodsError
from .genquery import Visibility
from .session import Session


def current_ticket(session: Session) -> sqlite3.Row | None:
    """Return the row of the ticket that the connection uses, or None."""
    if not session.ticket:
        return None
    return session.catalog.one("SELECT * FROM ticket WHERE string=?", session.ticket)


def covers(session: Session, ticket: sqlite3.Row, object_id: int) -> bool:
    """Return whether a ticket is for an object or for a collection above it.

    Parameters
    ----------
    session : Session
        The client's connection.
    ticket : sqlite3.Row
        The ticket.
    object_id : int
        Id of a data object or collection.

    Returns
    -------
    bool
        Whether the ticket covers it.
    """
    if ticket["object_id"] == object_id:
        return True
    if ticket["object_type"] != "collection":
        return False
    found = session.catalog.one(
        "SELECT 1 FROM coll t JOIN coll c ON c.name=t.name OR (c.name>t.name||'/' AND"
        " c.name<t.name||'0') WHERE t.id=? AND (c.id=? OR c.id=(SELECT coll_id FROM data"
        " WHERE data.id=?))", ticket["object_id"], object_id, object_id,
    )  # fmt: skip
    return found is not None


def grants(session: Session, object_id: int, level: int) -> bool:
    """Return whether the connection's ticket grants an access level on an object.

    Parameters
    ----------
    session : Session
        The client's connection.
    object_id : int
        Id of a data object or collection.
    level : int
        The access level needed.

    Returns
    -------
    bool
        Whether the ticket grants it.

    Raises
    ------
    IrodsError
        The ticket would grant it, but expired or is for other users, groups or hosts.
    """
    ticket = current_ticket(session)
    wanted = ("read", "write") if level <= READ else ("write",) if level <= WRITE else ()
    if ticket is None or ticket["type"] not in wanted or not covers(session, ticket, object_id):
        return False
    check_limits(session, ticket)
    return True


def query_visibility(session: Session) -> Visibility:
    """Return what the connection's queries may show; raise if its ticket cannot be used."""
    ticket = current_ticket(session)
    if ticket is None:
        return Visibility(session.user_id)
    check_limits(session, ticket)
    row = session.catalog.one("SELECT name FROM coll WHERE id=?", ticket["object_id"])
    return Visibility(session.user_id, ticket["object_id"], "" if row is None else row["name"])


def check_limits(session: Session, ticket: sqlite3.Row) -> None:
    """Check that a ticket has not expired and is for this user and host.

    Parameters
    ----------
    session : Session
        The client's connection.
    ticket : sqlite3.Row
        The ticket.

    Raises
    ------
    IrodsError
        CAT_TICKET_EXPIRED, or CAT_TICKET_..._EXCLUDED.
    """
    if ticket["expiry"] and int(ticket["expiry"]) < time.time():
        raise IrodsError(ErrorCode.CAT_TICKET_EXPIRED, "ticket expired")
    limits: dict[str, set[str]] = {}
    for row in session.catalog.rows(
        "SELECT kind, name FROM ticket_limit WHERE ticket_id=?", ticket["id"]
    ):
        limits.setdefault(row["kind"], set()).add(row["name"])
    names = {session.user_name, session.qualified_name}
    if "user" in limits and not limits["user"] & names:
        raise IrodsError(ErrorCode.CAT_TICKET_USER_EXCLUDED, "ticket is for other users")
    if "host" in limits and session.sock.getpeername()[0] not in limits["host"]:
        raise IrodsError(ErrorCode.CAT_TICKET_HOST_EXCLUDED, "ticket is for other hosts")
    if "group" in limits:
        groups = session.catalog.rows(
            "SELECT g.name FROM member m JOIN user g ON g.id=m.group_id WHERE m.user_id=?",
            session.user_id,
        )
        if not limits["group"] & {g["name"] for g in groups}:
            raise IrodsError(ErrorCode.CAT_TICKET_GROUP_EXCLUDED, "ticket is for other groups")


def count_use(session: Session, write: bool) -> None:
    """Count the opening of a replica against the limits of the connection's ticket.

    Parameters
    ----------
    session : Session
        The client's connection.
    write : bool
        Whether the replica is opened for writing.

    Raises
    ------
    IrodsError
        A limit is reached.
    """
    with session.catalog.transaction() as db:
        ticket = current_ticket(session)
        if ticket is None:
            raise IrodsError(ErrorCode.CAT_TICKET_INVALID, "ticket is gone")
        if 0 < ticket["uses_limit"] <= ticket["uses_count"]:
            raise IrodsError(ErrorCode.CAT_TICKET_USES_EXCEEDED, "ticket used up")
        if write and 0 < ticket["wfile_limit"] <= ticket["wfile_count"]:
            raise IrodsError(ErrorCode.CAT_TICKET_WRITE_USES_EXCEEDED, "ticket used up for writing")
        db.execute(
            "UPDATE ticket SET uses_count=uses_count+1, wfile_count=wfile_count+? WHERE id=?",
            (int(write), ticket["id"]),
        )


def count_bytes_written(session: Session, size: int) -> None:
    """Count bytes against the limits of the connection's ticket, before they are written.

    Parameters
    ----------
    session : Session
        The client's connection.
    size : int
        Number of bytes.

    Raises
    ------
    IrodsError
        CAT_TICKET_WRITE_BYTES_EXCEEDED: with them the limit is exceeded.
    """
    with session.catalog.transaction() as db:
        ticket = current_ticket(session)
        if ticket is None:
            raise IrodsError(ErrorCode.CAT_TICKET_INVALID, "ticket is gone")
        if 0 < ticket["wbyte_limit"] < ticket["wbyte_count"] + size:
            raise IrodsError(ErrorCode.CAT_TICKET_WRITE_BYTES_EXCEEDED, "ticket used up")
        db.execute("UPDATE ticket SET wbyte_count=wbyte_count+? WHERE id=?", (size, ticket["id"]))


def parse_expiry(text: str) -> str:
    """Return a time as the catalog stores it, from epoch seconds or a date; nothing for 0."""
    if text.isdigit():
        return f"{int(text):011d}" if int(text) else ""
    for form in ("%Y-%m-%d.%H:%M:%S", "%Y-%m-%d.%H:%M", "%Y-%m-%d"):
        try:
            return f"{int(time.mktime(time.strptime(text, form))):011d}"
        except ValueError:
            continue
    raise IrodsError(ErrorCode.SYS_INVALID_INPUT_PARAM, f"time {text}")


def _restriction_name(kind: str, name: str) -> str:
    """Return how a restriction is stored: hosts by address, because connections show theirs."""
    if kind != "host":
        return name
    try:
        return socket.gethostbyname(name)
    except OSError:
        raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, f"host {name}") from None


_LIMITS = {
    "uses": "uses_limit", "write-file": "wfile_limit", "write-bytes": "wbyte_limit",
    "write-byte": "wbyte_limit",
}  # fmt: skip


def modify_ticket(
    session: Session, db: sqlite3.Connection, ticket: sqlite3.Row, arguments: list[str]
) -> None:
    """Change a limit or restriction of a ticket.

    Parameters
    ----------
    session : Session
        The client's connection.
    db : sqlite3.Connection
        The open transaction.
    ticket : sqlite3.Row
        The ticket.
    arguments : list of str
        As of ``iticket mod``: ``uses``, ``write-file``, ``write-bytes`` or ``expire`` and a value;
        or ``add`` or ``remove``, ``user``, ``host`` or ``group``, and a name.

    Raises
    ------
    IrodsError
        The arguments are wrong, or a user, group or host is unknown.
    """
    what, *values = arguments
    value: object
    if what in _LIMITS:
        if not values[0].isdigit():
            raise IrodsError(ErrorCode.SYS_INVALID_INPUT_PARAM, values[0])
        column, value = _LIMITS[what], int(values[0])
    elif what.startswith("expire"):
        column, value = "expiry", parse_expiry(values[0])
    elif what in ("add", "remove") and values[0] in ("user", "host", "group"):
        _change_restriction(session, db, ticket, what, values[0], values[1])
        column, value = "mtime", timestamp()
    else:
        raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, " ".join(arguments).strip())
    db.execute(
        f"UPDATE ticket SET {column}=?, mtime=? WHERE id=?", (value, timestamp(), ticket["id"])
    )


def _change_restriction(
    session: Session, db: sqlite3.Connection, ticket: sqlite3.Row, verb: str, kind: str, name: str
) -> None:
    """Restrict a ticket to a user, host or group as well, or no longer."""
    row = (ticket["id"], kind, _restriction_name(kind, name))
    if verb == "remove":
        sql = "DELETE FROM ticket_limit WHERE ticket_id=? AND kind=? AND name=?"
        if not db.execute(sql, row).rowcount:
            raise IrodsError(ErrorCode.CAT_NO_ROWS_FOUND, name)
        return
    if kind != "host" and session.catalog.user(name.partition("#")[0], session.zone.name) is None:
        code = ErrorCode.CAT_INVALID_USER if kind == "user" else ErrorCode.CAT_INVALID_GROUP
        raise IrodsError(code, name)
    db.execute("INSERT OR IGNORE INTO ticket_limit VALUES(?,?,?)", row)
