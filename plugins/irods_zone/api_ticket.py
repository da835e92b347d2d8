"""The ticket API: create, modify, delete, and use for this connection."""

from __future__ import annotations

from . import codes, tickets
from .catalog import OWN, clean, now
from .objects import need
from .request import Reply, Request, api
from .session import Session
from .wire import IrodsError


@api(723)
def ticket_admin(s: Session, r: Request) -> Reply:
    """What iticket does."""
    verb, name, *rest = [r.node.get(f"arg{i}") for i in range(1, 7)]
    if verb == "session":
        s.ticket = name
        return Reply()
    if verb == "create":
        create(s, name, rest[0], clean(rest[1]))
        return Reply()
    ticket = s.cat.one("SELECT * FROM ticket WHERE string=? OR CAST(id AS TEXT)=?", name, name)
    if ticket is None or (ticket["user_id"] != s.uid and not s.elevated):
        raise IrodsError(codes.CAT_TICKET_INVALID, name)
    with s.cat.tx(durable=True) as db:
        if verb == "delete":
            db.execute("DELETE FROM ticket WHERE id=?", (ticket["id"],))
            db.execute("DELETE FROM ticket_limit WHERE ticket_id=?", (ticket["id"],))
        elif verb == "mod":
            tickets.modify(s, db, ticket, rest)
        else:
            raise IrodsError(codes.CAT_INVALID_ARGUMENT, verb)
    return Reply()


def create(s: Session, name: str, kind: str, path: str) -> None:
    """A ticket for a data object or collection that the user owns."""
    if kind not in ("read", "write") or not name:
        raise IrodsError(codes.CAT_INVALID_ARGUMENT, f"{kind} {name}")
    coll, rows = s.cat.coll(path), s.cat.replicas(path)
    if coll is None and not rows:
        raise IrodsError(codes.CAT_UNKNOWN_COLLECTION, path)
    target = coll or rows[0]
    need(s, target["id"], OWN)
    with s.cat.tx(durable=True) as db:
        if s.cat.one("SELECT 1 FROM ticket WHERE string=?", name) is not None:
            raise IrodsError(codes.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, "ticket exists")
        t = now()
        db.execute(
            "INSERT INTO ticket(id,string,type,user_id,object_id,object_type,ctime,mtime)"
            " VALUES(?,?,?,?,?,?,?,?)",
            (s.cat.new_id(db), name, kind, s.uid, target["id"],
             "data" if coll is None else "collection", t, t),
        )  # fmt: skip
