"""Tickets: create, modify, delete, and use on this connection."""

from __future__ import annotations

from .. import tickets
from ..access_control import require_access
from ..api_messages import Reply, Request
from ..api_numbers import Api
from ..api_registry import handles
from ..catalog import OWN, canonical_path, timestamp
from ..error_codes import ErrorCode
from ..errors import IrodsError
from ..session import Session


@handles(Api.TICKET_ADMIN_AN)
def _ticket_admin(session: Session, request: Request) -> Reply:
    """Do what iticket asks for."""
    verb, name, *rest = [request.node.get(f"arg{i}") for i in range(1, 7)]
    if verb == "session":
        session.ticket = name
        return Reply()
    if verb == "create":
        _create_ticket(session, name, rest[0], canonical_path(rest[1]))
        return Reply()
    ticket = session.catalog.one(
        "SELECT * FROM ticket WHERE string=? OR CAST(id AS TEXT)=?", name, name
    )
    if ticket is None or (ticket["user_id"] != session.user_id and not session.elevated):
        raise IrodsError(ErrorCode.CAT_TICKET_INVALID, name)
    with session.catalog.transaction(durable=True) as db:
        if verb == "delete":
            db.execute("DELETE FROM ticket WHERE id=?", (ticket["id"],))
            db.execute("DELETE FROM ticket_limit WHERE ticket_id=?", (ticket["id"],))
        elif verb == "mod":
            tickets.modify_ticket(session, db, ticket, rest)
        else:
            raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, verb)
    return Reply()


def _create_ticket(session: Session, name: str, kind: str, path: str) -> None:
    """Create a ticket for a data object or collection that the user owns."""
    if kind not in ("read", "write") or not name:
        raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, f"{kind} {name}")
    coll, rows = session.catalog.collection(path), session.catalog.replicas(path)
    if coll is None and not rows:
        raise IrodsError(ErrorCode.CAT_UNKNOWN_COLLECTION, path)
    target = coll or rows[0]
    require_access(session, target["id"], OWN)
    with session.catalog.transaction(durable=True) as db:
        if session.catalog.one("SELECT 1 FROM ticket WHERE string=?", name) is not None:
            raise IrodsError(ErrorCode.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, "ticket exists")
        t = timestamp()
        db.execute(
            "INSERT INTO ticket(id,string,type,user_id,object_id,object_type,ctime,mtime)"
            " VALUES(?,?,?,?,?,?,?,?)",
            (session.catalog.new_id(db), name, kind, session.user_id, target["id"],
             "data" if coll is None else "collection", t, t),
        )  # fmt: skip
