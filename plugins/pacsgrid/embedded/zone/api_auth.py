"""Authentication and queries."""

from __future__ import annotations

import base64
import itertools

from . import genquery
from .server import Reply, Request, Session, api, json_reply
from .wire import IrodsError, pack


@api(110000)
def authenticate(s: Session, r: Request) -> Reply:
    """Native authentication as 5.0 does it."""
    data = r.json()
    step = data.get("next_operation")
    if step == "auth_agent_auth_request":
        s.challenge = s.server.new_challenge()
        data["request_result"] = s.challenge.decode()
    elif step == "auth_agent_auth_response":
        try:
            digest = base64.b64decode(str(data.get("digest", "")))
        except ValueError:
            digest = b""
        if not s.password_ok(digest):
            raise IrodsError(-826000, "wrong password")
    else:
        raise IrodsError(-1105000, "unknown step")
    return json_reply(data)


@api(703)
def challenge(s: Session, r: Request) -> Reply:
    """The older request for a challenge."""
    s.challenge = s.server.new_challenge()
    return Reply(0, pack("authRequestOut_PI", challenge=base64.b64encode(s.challenge).decode()))


@api(704)
def response(s: Session, r: Request) -> Reply:
    """The older answer to a challenge."""
    try:
        digest = base64.b64decode(r.node.get("response"))
    except ValueError:
        digest = b""
    if not s.password_ok(digest):
        raise IrodsError(-826000, "wrong password")
    return Reply()


_counter = itertools.count(1)


@api(702)
def gen_query(s: Session, r: Request) -> Reply:
    """GenQuery1, in pages."""
    size = r.node.num("maxRows")
    inx = r.node.num("continueInx")
    if inx:
        if inx not in s.queries:
            raise IrodsError(-808000, "no such query")
        columns, rows, at = s.queries.pop(inx)
        if size <= 0:
            return Reply(0, genquery.EMPTY)
    else:
        query = genquery.Query(r.node)
        columns, at = query.columns, 0
        rows = genquery.run(s.cat, query, None if s.admin else s.uid)
        at = r.node.num("partialStartIndex")
        if size <= 0:
            size = len(rows)
    page = rows[at : at + size]
    if not page:
        return Reply(genquery.NO_ROWS, genquery.EMPTY)
    more = 0
    if at + size < len(rows):
        more = next(_counter) if inx == 0 else inx
        s.queries[more] = (columns, rows, at + size)
    total = len(rows) if r.node.num("options") & 0x20 else 0
    return Reply(0, genquery.reply(columns, page, more, total))
