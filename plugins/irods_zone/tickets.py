"""Tickets: rights lent by a string, within the limits that its maker set."""

from __future__ import annotations

import socket
import time
from typing import Any

from .catalog import READ, WRITE, timestamp
from .error_codes import ErrorCode
from .errors import IrodsError
from .genquery import Visibility
from .session import Session


def current_ticket(session: Session) -> Any:
    """The ticket that this connection uses, or None."""
    return (
        session.catalog.one("SELECT * FROM ticket WHERE string=?", session.ticket)
        if session.ticket
        else None
    )


def covers(session: Session, ticket: Any, object_id: int) -> bool:
    """Whether a ticket is about this object, or about a collection above it."""
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
    """Whether the connection's ticket gives this right; raises if only a limit forbids it."""
    ticket = current_ticket(session)
    wanted = ("read", "write") if level <= READ else ("write",) if level <= WRITE else ()
    if ticket is None or ticket["type"] not in wanted or not covers(session, ticket, object_id):
        return False
    check_limits(session, ticket)
    return True


def query_visibility(session: Session) -> Visibility:
    """What this connection's queries may show; raises if its ticket is not for it any more."""
    ticket = current_ticket(session)
    if ticket is None:
        return Visibility(session.user_id)
    check_limits(session, ticket)
    row = session.catalog.one("SELECT name FROM coll WHERE id=?", ticket["object_id"])
    return Visibility(session.user_id, ticket["object_id"], "" if row is None else row["name"])


def check_limits(session: Session, ticket: Any) -> None:
    """Refuse a ticket that has expired or is not for this user or host."""
    if ticket["expiry"] and int(ticket["expiry"]) < time.time():
        raise IrodsError(ErrorCode.CAT_TICKET_EXPIRED, "ticket expired")
    limits: dict[str, set[str]] = {}
    for row in session.catalog.rows(
        "SELECT kind, name FROM ticket_limit WHERE ticket_id=?", ticket["id"]
    ):
        limits.setdefault(row["kind"], set()).add(row["name"])
    if "user" in limits and not limits["user"] & {
        session.user_name,
        f"{session.user_name}#{session.user_zone}",
    }:
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
    """Count one opening against the ticket's limits."""
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
    """Count bytes before they are written."""
    with session.catalog.transaction() as db:
        ticket = current_ticket(session)
        if ticket is None:
            raise IrodsError(ErrorCode.CAT_TICKET_INVALID, "ticket is gone")
        if 0 < ticket["wbyte_limit"] < ticket["wbyte_count"] + size:
            raise IrodsError(ErrorCode.CAT_TICKET_WRITE_BYTES_EXCEEDED, "ticket used up")
        db.execute("UPDATE ticket SET wbyte_count=wbyte_count+? WHERE id=?", (size, ticket["id"]))


def parse_expiry(text: str) -> str:
    """A time as the catalog stores it, from epoch seconds or a date; empty for 0."""
    if text.isdigit():
        return f"{int(text):011d}" if int(text) else ""
    for form in ("%Y-%m-%d.%H:%M:%S", "%Y-%m-%d.%H:%M", "%Y-%m-%d"):
        try:
            return f"{int(time.mktime(time.strptime(text, form))):011d}"
        except ValueError:
            continue
    raise IrodsError(ErrorCode.SYS_INVALID_INPUT_PARAM, f"time {text}")


def limit_name(kind: str, name: str) -> str:
    """What a limit is stored as: hosts by address, since that is what a connection shows."""
    if kind != "host":
        return name
    try:
        return socket.gethostbyname(name)
    except OSError:
        raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, f"host {name}") from None


def modify_ticket(session: Session, db: Any, ticket: Any, a: list[str]) -> None:
    """Change limits: ``uses|write-file|write-bytes|expire VALUE``, ``add|remove KIND NAME``."""
    column = {"uses": "uses_limit", "write-file": "wfile_limit", "write-bytes": "wbyte_limit",
              "write-byte": "wbyte_limit"}.get(a[0])  # fmt: skip
    value: object
    if column is not None:
        if not a[1].isdigit():
            raise IrodsError(ErrorCode.SYS_INVALID_INPUT_PARAM, a[1])
        value = int(a[1])
    elif a[0].startswith("expire"):
        column, value = "expiry", parse_expiry(a[1])
    elif a[0] in ("add", "remove") and a[1] in ("user", "host", "group"):
        column, value = "mtime", timestamp()
        row = (ticket["id"], a[1], limit_name(a[1], a[2]))
        if a[0] == "add":
            if (
                a[1] != "host"
                and session.catalog.user(a[2].partition("#")[0], session.zone.name) is None
            ):
                raise IrodsError(
                    ErrorCode.CAT_INVALID_USER if a[1] == "user" else ErrorCode.CAT_INVALID_GROUP,
                    a[2],
                )
            db.execute("INSERT OR IGNORE INTO ticket_limit VALUES(?,?,?)", row)
        else:
            sql = "DELETE FROM ticket_limit WHERE ticket_id=? AND kind=? AND name=?"
            if not db.execute(sql, row).rowcount:
                raise IrodsError(ErrorCode.CAT_NO_ROWS_FOUND, a[2])
    else:
        raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, " ".join(a).strip())
    db.execute(
        f"UPDATE ticket SET {column}=?, mtime=? WHERE id=?", (value, timestamp(), ticket["id"])
    )
