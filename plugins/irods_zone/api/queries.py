"""Queries: GenQuery1, specific queries, GenQuery2; results in pages."""

from __future__ import annotations

import itertools
from typing import Any

from .. import genquery, genquery2, tickets
from .. import specific_queries as specific
from ..api_messages import Reply, Request, json_string_reply, string_reply
from ..api_numbers import Api
from ..api_registry import handles
from ..errors import IrodsError
from ..session import Session

_counter = itertools.count(1)
Rows = list[tuple[Any, ...]]


def _page(
    session: Session, request: Request, columns: list[int], rows: Rows, at: int, inx: int
) -> Reply:
    """As many rows as the client asked for; the rest waits under a continue index."""
    size = request.node.number("maxRows")
    if size <= 0:
        size = len(rows)
    page = rows[at : at + size]
    if not page:
        return Reply(genquery.NO_ROWS, genquery.EMPTY_RESULT)
    more = 0
    if at + size < len(rows):
        more = inx or next(_counter)
        session.queries[more] = (columns, rows, at + size)
    total = len(rows) if request.node.number("options") & genquery.RETURN_TOTAL_ROW_COUNT else 0
    return Reply(0, genquery.pack_result(columns, page, more, total))


def _continued(session: Session, request: Request) -> Reply | None:
    """The next page of a query, or its end if the client asks for no rows."""
    inx = request.node.number("continueInx")
    if not inx:
        return None
    if inx not in session.queries:
        raise IrodsError(genquery.NO_ROWS, "no such query")
    columns, rows, at = session.queries.pop(inx)
    if request.node.number("maxRows") <= 0:
        return Reply(0, genquery.EMPTY_RESULT)
    return _page(session, request, columns, rows, at, inx)


@handles(Api.GEN_QUERY_AN)
def _gen_query(session: Session, request: Request) -> Reply:
    """GenQuery1."""
    reply = _continued(session, request)
    if reply is None:
        query = genquery.Query(request.node)
        rows = genquery.run(
            session.catalog, query, None if session.is_admin else tickets.query_visibility(session)
        )
        reply = _page(
            session, request, query.columns, rows, request.node.number("partialStartIndex"), 0
        )
    return reply


@handles(Api.SPECIFIC_QUERY_AN)
def _specific_query(session: Session, request: Request) -> Reply:
    """A query registered by the administrator, with up to ten arguments."""
    reply = _continued(session, request)
    if reply is None:
        args = [c.text for c in request.node.children if c.tag.startswith("arg")]
        while args and not args[-1]:
            args.pop()
        rows = specific.run(session, request.node.get("sql"), args)
        columns = [0] * len(rows[0]) if rows else []
        reply = _page(session, request, columns, rows, request.node.number("rowOffset"), 0)
    return reply


@handles(Api.GENQUERY2_AN)
def _genquery2(session: Session, request: Request) -> Reply:
    """GenQuery2: rows, the SQL it becomes, or the columns it knows."""
    if request.node.number("column_mappings"):
        return json_string_reply(genquery2.mappings())
    user = None if session.is_admin else (session.user_name, session.user_zone)
    sql, args = genquery2.to_sql(request.node.get("query_string"), user)
    if request.node.number("sql_only"):
        return string_reply(sql)
    return json_string_reply(genquery2.run(session.catalog, sql, args))
