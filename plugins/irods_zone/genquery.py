"""GenQuery1: queries of numbered columns, compiled to SQL over the catalog."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from .catalog import READ, Catalog
from .error_codes import ErrorCode
from .errors import IrodsError
from .genquery_columns import COLUMNS, D_RESC_HIER, JOINS, META_OF, NAMES, PART_OF
from .genquery_conditions import compile_condition
from .xml_structures import Node, escape

_MIN_WIDTH = 50  # least reslen of a database column
_MAX_COLUMNS = 50  # every result has as many SqlResult_PI
_UNUSED = "<SqlResult_PI>\n<attriInx>0</attriInx>\n<reslen>0</reslen>\n</SqlResult_PI>\n"
# Options of a query and of its columns, as in rodsGenQuery.h.
RETURN_TOTAL_ROW_COUNT, _NO_DISTINCT, _UPPER_CASE_WHERE = 0x20, 0x40, 0x200
_ORDER_BY, _ORDER_BY_DESC = 0x400, 0x800
_AGGREGATES = {2: "min", 3: "max", 4: "sum", 5: "avg", 6: "count"}


@dataclass(frozen=True)
class Visibility:
    """What a query may show.

    Attributes
    ----------
    user_id : int
        The user; objects that this user can read are shown.
    object_id : int or None
        The object of the user's ticket, which is shown too.
    collection : str
        Its path if it is a collection; all below it is shown as well.
    """

    user_id: int
    object_id: int | None = None
    collection: str = ""


class Query:
    """A GenQuery1 query.

    Parameters
    ----------
    request : Node
        A GenQueryInp_PI.

    Raises
    ------
    IrodsError
        CAT_UNKNOWN_TABLE: a column is unknown.
    """

    def __init__(self, request: Node) -> None:
        selects = request.child("InxIvalPair_PI")
        wheres = request.child("InxValPair_PI")
        self.columns = [int(i) for i in selects.all("inx")]
        self.flags = [int(i) for i in selects.all("ivalue")]
        self.conditions = list(
            zip((int(i) for i in wheres.all("inx")), wheres.all("svalue"), strict=False)
        )
        self.options = request.number("options")
        for number in [*self.columns, *(n for n, _ in self.conditions)]:
            if number not in COLUMNS:
                raise IrodsError(ErrorCode.CAT_UNKNOWN_TABLE, f"unknown column {number}")

    def sql(self, who: Visibility | None) -> tuple[str, list[Any]]:
        """Compile the query.

        Parameters
        ----------
        who : Visibility or None
            What the result may show; None shows all.

        Returns
        -------
        str
            The SQL.
        list
            Values of its parameters.

        Raises
        ------
        IrodsError
            A condition is malformed, or there are no columns.
        """
        needed: list[str] = []
        extra: list[str] = []
        for number in self.columns:
            self._need(needed, COLUMNS[number][0])
        where, args = self._where(needed, extra)
        tables = self._from(needed, extra)
        if who is not None:
            self._restrict(needed, where, args, who)
        out, group, order = self._select()
        distinct = "" if self.options & _NO_DISTINCT else "DISTINCT "
        text = f"SELECT {distinct}{', '.join(out)} FROM {tables}"
        if where:
            text += " WHERE " + " AND ".join(where)
        if len(group) < len(out) and group:
            text += " GROUP BY " + ", ".join(group)
        if order:
            text += " ORDER BY " + ", ".join(order)
        return text, args

    def _where(self, needed: list[str], extra: list[str]) -> tuple[list[str], list[Any]]:
        """Return the conditions and their values; note the tables and joins that they need."""
        upper = bool(self.options & _UPPER_CASE_WHERE)
        where: list[str] = []
        args: list[Any] = []
        seen: Counter[int] = Counter()
        for number, text in self.conditions:
            alias, sql, numeric = COLUMNS[number]
            if alias in META_OF and seen[number]:
                # A second condition on the same metadata column means another AVU.
                another = f"{alias}{seen[number]}"
                sql = re.sub(rf"\b(o_)?{alias}\.", rf"\1{another}.", sql)
                self._need(needed, META_OF[alias])
                join = self._meta_join(another, META_OF[alias])
                if join not in extra:
                    extra.append(join)
            else:
                self._need(needed, alias)
            seen[number] += 1
            condition, values = compile_condition(sql, text, numeric, upper)
            where.append(condition)
            args.extend(values)
        return where, args

    def _select(self) -> tuple[list[str], list[str], list[str]]:
        """Return the columns of the result, those to group by, and those to order by."""
        out, group, order = [], [], []
        for number, flag in zip(self.columns, self.flags, strict=True):
            sql = COLUMNS[number][1]
            kind = flag & 0xFF
            if kind in _AGGREGATES:
                out.append(f"{_AGGREGATES[kind]}({sql})")
            else:
                out.append(sql)
                group.append(sql)
            if flag & _ORDER_BY_DESC:
                order.append(f"{out[-1]} DESC")
            elif flag & _ORDER_BY:
                order.append(out[-1])
        return out, group, order

    @staticmethod
    def _need(needed: list[str], alias: str) -> None:
        """Note that the query needs a table, and the table that this one belongs to."""
        if alias in PART_OF and PART_OF[alias] not in needed:
            needed.append(PART_OF[alias])
        if alias not in needed:
            needed.append(alias)

    @staticmethod
    def _meta_join(alias: str, of: str) -> str:
        return (
            f"JOIN objt o_{alias} ON o_{alias}.object_id={of}.id"
            f" JOIN meta {alias} ON {alias}.id=o_{alias}.meta_id"
        )

    def _from(self, needed: list[str], extra: list[str]) -> str:
        """Return the tables that the query needs, each joined to one before it."""
        self._complete(needed)
        tables = [a for a in needed if a not in META_OF]
        if not tables:
            raise IrodsError(ErrorCode.CAT_NO_ROWS_FOUND, "no columns")
        done, parts = [tables[0]], [NAMES[tables[0]]]
        todo = tables[1:]
        while todo:
            alias, join = next(
                ((a, join) for a in todo if (join := self._join(a, done))),
                (todo[0], f"CROSS JOIN {NAMES.get(todo[0], todo[0])}"),
            )
            parts.append(join)
            done.append(alias)
            todo.remove(alias)
        if done == ["grp"]:
            extra.append("JOIN member mg ON mg.group_id=grp.id")
        parts.extend(self._meta_join(a, META_OF[a]) for a in needed if a in META_OF)
        return " ".join([*parts, *extra])

    @staticmethod
    def _complete(needed: list[str]) -> None:
        """Add the tables through which the needed ones join."""
        for names, access in (("cu", "ca"), ("du", "da")):
            if names in needed and access not in needed:
                needed.append(access)
        if "user" in needed and not {"da", "ca", "ticket"} & set(needed):
            if "data" in needed:
                needed.append("da")
            elif "coll" in needed:
                needed.append("ca")
        if "ticket" in needed:
            needed[:] = ["ticket", *(a for a in needed if a != "ticket")]
            if "user" in needed:  # users with access to the ticket's data object
                needed.extend(a for a in ("data", "da") if a not in needed)
        both = "coll" in needed and ("resc" in needed or "da" in needed)
        if both and "data" not in needed:
            needed.append("data")

    @staticmethod
    def _join(alias: str, done: list[str]) -> str:
        """Return how a table joins those that the query has already; nothing if it cannot."""
        join = next((j for j in JOINS if j[0] == alias and j[1] in done), None)
        if join is not None:
            return f"{join[2]} ON {join[3]}"
        if alias == "grp" and "user" in done:
            return "JOIN member mb ON mb.user_id=user.id JOIN user grp ON grp.id=mb.group_id"
        if alias == "user" and "grp" in done:
            return "JOIN member mb ON mb.group_id=grp.id JOIN user ON user.id=mb.user_id"
        return ""

    @staticmethod
    def _restrict(needed: list[str], where: list[str], args: list[Any], who: Visibility) -> None:
        """Restrict the query to what somebody may see."""
        if "ticket" in needed:
            where.append("ticket.user_id=?")
            args.append(who.user_id)
        target = "data" if "data" in needed else "coll" if "coll" in needed else None
        if target is None:
            return
        seen = (
            f"EXISTS(SELECT 1 FROM access x WHERE x.object_id={target}.id AND x.level>={READ}"
            " AND (x.user_id=? OR x.user_id IN (SELECT group_id FROM member WHERE user_id=?)))"
        )
        args.extend((who.user_id, who.user_id))
        if who.object_id is not None:
            seen = f"({seen} OR {target}.id=?"
            args.append(who.object_id)
            if who.collection:
                column = "data.coll_id" if target == "data" else "coll.id"
                seen += f" OR {column} IN (SELECT id FROM coll WHERE name=? OR name>? AND name<?)"
                args.extend((who.collection, who.collection + "/", who.collection + "0"))
            seen += ")"
        where.append(seen)


def run(catalog: Catalog, query: Query, who: Visibility | None) -> list[tuple[Any, ...]]:
    """Run a query.

    Parameters
    ----------
    catalog : Catalog
        The catalog.
    query : Query
        The query.
    who : Visibility or None
        What the result may show; None shows all.

    Returns
    -------
    list of tuple
        All rows.
    """
    sql, args = query.sql(who)
    return [tuple(r) for r in catalog.db.execute(sql, args)]


def pack_result(columns: list[int], rows: list[tuple[Any, ...]], more: int, total: int) -> bytes:
    """Pack rows of a query as the real server does.

    Parameters
    ----------
    columns : list of int
        Numbers of the columns.
    rows : list of tuple
        Rows to send.
    more : int
        Continue index with which the client gets the next rows; 0 if there are none.
    total : int
        Number of all rows, if the client asked for it.

    Returns
    -------
    bytes
        GenQueryOut_PI in XML.
    """
    out = [
        f"<GenQueryOut_PI>\n<rowCnt>{len(rows)}</rowCnt>\n<attriCnt>{len(columns)}</attriCnt>\n"
        f"<continueInx>{more}</continueInx>\n<totalRowCount>{total}</totalRowCount>\n"
    ]
    for i, number in enumerate(columns):
        values = ["" if r[i] is None else escape(r[i]) for r in rows]
        # The server computes hierarchies, so they have no least width.
        least = 0 if number == D_RESC_HIER else _MIN_WIDTH
        size = max(least, max(map(len, values), default=0) + 1)
        inner = "".join(f"<value>{v}</value>\n" for v in values)
        out.append(
            f"<SqlResult_PI>\n<attriInx>{number}</attriInx>\n<reslen>{size}</reslen>\n{inner}"
            "</SqlResult_PI>\n"
        )
    out.append(_UNUSED * (_MAX_COLUMNS - len(columns)))
    out.append("</GenQueryOut_PI>\n")
    return "".join(out).encode()


EMPTY_RESULT = (
    "<GenQueryOut_PI>\n<rowCnt>0</rowCnt>\n<attriCnt>0</attriCnt>\n<continueInx>0</continueInx>\n"
    "<totalRowCount>0</totalRowCount>\n" + _UNUSED * _MAX_COLUMNS + "</GenQueryOut_PI>\n"
).encode()
