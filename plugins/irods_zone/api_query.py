"""Queries: GenQuery1, specific queries, GenQuery2; results in pages."""

from __future__ import annotations

import itertools
from typing import Any

from . import genquery, genquery2, specific, tickets
from .request import Reply, Request, api, json_string
from .session import Session
from .wire import IrodsError

_counter = itertools.count(1)
Rows = list[tuple[Any, ...]]


def _page(s: Session, r: Request, columns: list[int], rows: Rows, at: int, inx: int) -> Reply:
    """As many rows as the client asked for; the rest waits under a continue index."""
    size = r.node.num("maxRows")
    if size <= 0:
        size = len(rows)
    page = rows[at : at + size]
    if not page:
        return Reply(genquery.NO_ROWS, genquery.EMPTY)
    more = 0
    if at + size < len(rows):
        more = inx or next(_counter)
        s.queries[more] = (columns, rows, at + size)
    total = len(rows) if r.node.num("options") & genquery.TOTAL else 0
    return Reply(0, genquery.reply(columns, page, more, total))


def _continued(s: Session, r: Request) -> Reply | None:
    """The next page of a query, or its end if the client asks for no rows."""
    inx = r.node.num("continueInx")
    if not inx:
        return None
    if inx not in s.queries:
        raise IrodsError(genquery.NO_ROWS, "no such query")
    columns, rows, at = s.queries.pop(inx)
    if r.node.num("maxRows") <= 0:
        return Reply(0, genquery.EMPTY)
    return _page(s, r, columns, rows, at, inx)


@api(702)
def gen_query(s: Session, r: Request) -> Reply:
    """GenQuery1."""
    reply = _continued(s, r)
    if reply is None:
        query = genquery.Query(r.node)
        rows = genquery.run(s.cat, query, None if s.admin else tickets.visible(s))
        reply = _page(s, r, query.columns, rows, r.node.num("partialStartIndex"), 0)
    return reply


@api(722)
def specific_query(s: Session, r: Request) -> Reply:
    """A query registered by the administrator, with up to ten arguments."""
    reply = _continued(s, r)
    if reply is None:
        args = [c.text for c in r.node.children if c.tag.startswith("arg")]
        while args and not args[-1]:
            args.pop()
        rows = specific.run(s, r.node.get("sql"), args)
        columns = [0] * len(rows[0]) if rows else []
        reply = _page(s, r, columns, rows, r.node.num("rowOffset"), 0)
    return reply


@api(10221)
def gen_query2(s: Session, r: Request) -> Reply:
    """GenQuery2: rows, the SQL it becomes, or the columns it knows."""
    if r.node.num("column_mappings"):
        return json_string(genquery2.mappings())
    user = None if s.admin else (s.name, s.zone)
    sql, args = genquery2.to_sql(r.node.get("query_string"), user)
    if r.node.num("sql_only"):
        return json_string(sql, raw=True)
    return json_string(genquery2.run(s.cat, sql, args))
