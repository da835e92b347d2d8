"""GenQuery1: queries of numbered columns, compiled to SQL over the catalog."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from .catalog import READ, Catalog
from .error_codes import ErrorCode
from .errors import IrodsError
from .genquery_columns import COLUMNS, D_RESC_HIER, JOINS, META_OF, NAMES, PART_OF
from .xml_structures import Node, escape

_MIN_WIDTH = 50  # least reslen of a database column
_MAX_COLUMNS = 50  # every result has as many SqlResult_PI
_UNUSED = "<SqlResult_PI>\n<attriInx>0</attriInx>\n<reslen>0</reslen>\n</SqlResult_PI>\n"
# Options of a query and of its columns, as in rodsGenQuery.h.
RETURN_TOTAL_ROW_COUNT, _NO_DISTINCT, _UPPER_CASE_WHERE = 0x20, 0x40, 0x200
_ORDER_BY, _ORDER_BY_DESC = 0x400, 0x800
_AGGREGATES = {2: "min", 3: "max", 4: "sum", 5: "avg", 6: "count"}

_QUOTED = re.compile(r"'([^']*)'")


def _condition(sql: str, text: str, numeric: bool, args: list[Any], upper: bool) -> str:
    """Return the SQL of a condition on a column and append its values to the arguments."""
    text = text.strip()
    for glue, word in (("||", " OR "), ("&&", " AND ")):
        if glue in text and re.search(rf"'\s*{re.escape(glue)}", text):
            parts = re.split(rf"(?<=')\s*{re.escape(glue)}\s*", text)
            return "(" + word.join(_condition(sql, p, numeric, args, upper) for p in parts) + ")"
    lower = text.lower()
    left = f"upper({sql})" if upper else sql
    if lower.startswith("between"):
        values = _QUOTED.findall(text)
        if len(values) != 2:
            raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, text)
        args.extend(int(v) if numeric and v.isdigit() else v for v in values)
        return f"{left} BETWEEN ? AND ?"
    if re.match(r"(not\s+)?in\b", lower):
        values = _QUOTED.findall(text)
        args.extend(int(v) if numeric and v.lstrip("-").isdigit() else v for v in values)
        word = "NOT IN" if lower.startswith("not") else "IN"
        return f"{left} {word} ({','.join('?' * len(values))})"
    found = re.match(r"(n?(?:<>|!=|<=|>=|=|<|>)|not\s+like|like|begin_of|parent_of)\s*(.*)$",
                     text, re.S | re.I)  # fmt: skip
    if not found:
        raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, f"condition {text}")
    op, raw = found[1].lower(), found[2].strip()
    if len(raw) < 2 or raw[0] != "'" or raw[-1] != "'":
        raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, f"condition {text}")
    value: Any = raw[1:-1].replace("''", "'") if "''" in raw[1:-1] else raw[1:-1]
    if "like" in op:
        args.append(value)
        escaped = " ESCAPE '\\'"
        return f"{left} {'NOT LIKE' if op.startswith('not') else 'LIKE'} ?{escaped}"
    if op == "begin_of":
        args.append(value)
        return f"? LIKE {left} || '%'"
    if op == "parent_of":
        args.extend((value, value))
        return f"(? = {left} OR ? LIKE {left} || '/%')"
    if op.startswith("n"):
        args.append(float(value))
        return f"CAST({left} AS REAL) {op[1:]} ?"
    if numeric:
        try:
            value = int(value)
        except ValueError:
            left = f"CAST({left} AS TEXT)"
    elif sql == "data.status":
        value = int(value) if value.isdigit() else value
    args.append(value)
    return f"{left} {op} ?"


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
        upper = bool(self.options & _UPPER_CASE_WHERE)
        args: list[Any] = []
        needed: list[str] = []
        extra: list[str] = []
        where: list[str] = []
        seen: dict[int, int] = {}
        for number in self.columns:
            self._need(needed, COLUMNS[number][0])
        conditions: list[str] = []
        for number, text in self.conditions:
            alias, sql, numeric = COLUMNS[number]
            if alias in META_OF:
                # A second condition on the same metadata column means another AVU.
                nth = seen.get(number, 0)
                seen[number] = nth + 1
                if nth:
                    another = f"{alias}{nth}"
                    sql = re.sub(rf"\b(o_)?{alias}\.", rf"\1{another}.", sql)
                    self._need(needed, META_OF[alias])
                    join = self._meta_join(another, META_OF[alias])
                    if join not in extra:
                        extra.append(join)
                else:
                    self._need(needed, alias)
            else:
                self._need(needed, alias)
            conditions.append(_condition(sql, text, numeric, args, upper))
        where.extend(conditions)
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
        for names, rights in (("cu", "ca"), ("du", "da")):
            if names in needed and rights not in needed:
                needed.append(rights)
        if "user" in needed and "data" in needed and not {"da", "ca", "ticket"} & set(needed):
            needed.append("da")
        elif "user" in needed and "coll" in needed and not {"da", "ca", "ticket"} & set(needed):
            needed.append("ca")
        if "ticket" in needed:
            needed[:] = ["ticket", *(a for a in needed if a != "ticket")]
            if "user" in needed:  # users with access to the ticket's data object
                needed.extend(a for a in ("data", "da") if a not in needed)
        both = "coll" in needed and ("resc" in needed or "da" in needed)
        if both and "data" not in needed:
            needed.append("data")
        tables = [a for a in needed if a not in META_OF]
        if not tables:
            raise IrodsError(ErrorCode.CAT_NO_ROWS_FOUND, "no columns")
        done, parts = [tables[0]], [NAMES[tables[0]]]
        todo = tables[1:]
        while todo:
            for alias in todo:
                join = next((j for j in JOINS if j[0] == alias and j[1] in done), None)
                if join is not None:
                    parts.append(f"{join[2]} ON {join[3]}")
                elif alias == "grp" and "user" in done:
                    parts.append(
                        "JOIN member mb ON mb.user_id=user.id JOIN user grp ON grp.id=mb.group_id"
                    )
                elif alias == "user" and "grp" in done:
                    parts.append(
                        "JOIN member mb ON mb.group_id=grp.id JOIN user ON user.id=mb.user_id"
                    )
                else:
                    continue
                done.append(alias)
                todo.remove(alias)
                break
            else:
                alias = todo.pop(0)
                parts.append(f"CROSS JOIN {NAMES[alias]}")
                done.append(alias)
        if needed and done == ["grp"]:
            extra.append("JOIN member mg ON mg.group_id=grp.id")
        parts.extend(self._meta_join(a, META_OF[a]) for a in needed if a in META_OF)
        return " ".join([*parts, *extra])

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
