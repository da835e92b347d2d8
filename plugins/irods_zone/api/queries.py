"""Queries: GenQuery1 and specific queries with results in pages, and GenQuery2."""

from __future__ import annotations

import itertools
from typing import Any

from .. import genquery, genquery2, specific_queries, tickets
from ..api_messages import Reply, Request, json_string_reply, string_reply
from ..api_numbers import Api
from ..api_registry import handles
from ..error_codes import ErrorCode
from ..errors import IrodsError
from ..session import Session

_counter = itertools.count(1)
Rows = list[tuple[Any, ...]]


def _page(
    session: Session, request: Request, columns: list[int], rows: Rows, start: int, index: int
) -> Reply:
    """Return as many rows as the client asked for; keep the rest under a continue index."""
    size = request.node.number("maxRows")
    if size <= 0:
        size = len(rows)
    page = rows[start : start + size]
    if not page:
        return Reply(ErrorCode.CAT_NO_ROWS_FOUND, genquery.EMPTY_RESULT)
    more = 0
    if start + size < len(rows):
        more = index or next(_counter)
        session.queries[more] = (columns, rows, start + size)
    total = len(rows) if request.node.number("options") & genquery.RETURN_TOTAL_ROW_COUNT else 0
    return Reply(0, genquery.pack_result(columns, page, more, total))


def _continued(session: Session, request: Request) -> Reply | None:
    """Return the next page of a query, or end the query if the client asks for no rows."""
    index = request.node.number("continueInx")
    if not index:
        return None
    if index not in session.queries:
        raise IrodsError(ErrorCode.CAT_NO_ROWS_FOUND, "no such query")
    columns, rows, start = session.queries.pop(index)
    if request.node.number("maxRows") <= 0:
        return Reply(0, genquery.EMPTY_RESULT)
    return _page(session, request, columns, rows, start, index)


@handles(Api.GEN_QUERY_AN)
def _gen_query(session: Session, request: Request) -> Reply:
    """Run a GenQuery1 query."""
    reply = _continued(session, request)
    if reply is None:
        query = genquery.Query(request.node)
        visibility = None if session.is_admin else tickets.query_visibility(session)
        rows = genquery.run(session.catalog, query, visibility)
        start = request.node.number("partialStartIndex")
        reply = _page(session, request, query.columns, rows, start, 0)
    return reply


@handles(Api.SPECIFIC_QUERY_AN)
def _specific_query(session: Session, request: Request) -> Reply:
    """Run a registered query with up to ten arguments."""
    reply = _continued(session, request)
    if reply is None:
        args = [c.text for c in request.node.children if c.tag.startswith("arg")]
        while args and not args[-1]:
            args.pop()
        rows = specific_queries.run(session, request.node.get("sql"), args)
        columns = [0] * len(rows[0]) if rows else []
        reply = _page(session, request, columns, rows, request.node.number("rowOffset"), 0)
    return reply


@handles(Api.GENQUERY2_AN)
def _genquery2(session: Session, request: Request) -> Reply:
    """Run a GenQuery2 query, or return its SQL or the columns that GenQuery2 knows."""
    if request.node.number("column_mappings"):
        return json_string_reply(genquery2.mappings())
    user = None if session.is_admin else (session.user_name, session.user_zone)
    sql, args = genquery2.to_sql(request.node.get("query_string"), user)
    if request.node.number("sql_only"):
        return string_reply(sql)
    return json_string_reply(genquery2.run(session.catalog, sql, args))
