"""GenQuery1: numbered columns to SQL over the catalog."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from . import codes
from .catalog import READ, Catalog
from .wire import IrodsError, Node, esc

NO_ROWS = codes.CAT_NO_ROWS_FOUND
_HIERARCHY, _WIDTH, _SLOTS = 422, 50, 50
_UNUSED = "<SqlResult_PI>\n<attriInx>0</attriInx>\n<reslen>0</reslen>\n</SqlResult_PI>\n"
_DISTINCT_OFF, _UPPER, TOTAL = 0x40, 0x200, 0x20

# column -> (table alias, SQL, numeric)
COLUMNS: dict[int, tuple[str, str, bool]] = {}


def _columns(alias: str, first: dict[int, str], numeric: set[int] = frozenset()) -> None:  # type: ignore[assignment]
    for number, sql in first.items():
        COLUMNS[number] = (alias, sql if "(" in sql else f"{alias}.{sql}", number in numeric)


_columns("zone", {101: "id", 102: "name", 103: "type", 104: "conn", 105: "comment"}, {101})
_columns(
    "user",
    {201: "id", 202: "name", 203: "type", 204: "zone", 206: "info", 207: "comment",
     208: "ctime", 209: "mtime"}, {201},
)  # fmt: skip
_columns(
    "resc",
    {301: "id", 302: "name", 303: "(SELECT name FROM zone WHERE type='local')", 304: "type",
     305: "class", 306: "loc", 307: "vault", 308: "free", 309: "info", 310: "comment",
     311: "ctime", 312: "mtime", 313: "status", 314: "free_time", 315: "children",
     316: "context", 317: "parent", 318: "parent_ctx"}, {301},
)  # fmt: skip
_columns(
    "data",
    {401: "id", 402: "coll_id", 403: "name", 404: "repl", 405: "('')", 406: "type", 407: "size",
     409: "(SELECT r.name FROM resc r WHERE r.id=data.resc_id)", 410: "path", 411: "owner",
     412: "ozone", 413: "status", 414: "('')", 415: "checksum", 416: "expiry", 417: "(0)",
     418: "comments", 419: "ctime", 420: "mtime", 421: "mode", 422: "hier(data.resc_id)",
     423: "resc_id", 424: "atime"}, {401, 402, 404, 407, 417, 423},
)  # fmt: skip
_columns(
    "coll",
    {500: "id", 501: "name", 502: "parent", 503: "owner", 504: "ozone", 505: "(0)",
     506: "inherit", 507: "comments", 508: "ctime", 509: "mtime", 510: "('')", 511: "('')",
     512: "('')"}, {500, 505},
)  # fmt: skip
for _base, _alias in ((600, "dm"), (610, "cm"), (630, "rm"), (640, "um")):
    for _i, _c in enumerate(("attr", "value", "units", "id")):
        COLUMNS[_base + _i] = (_alias, f"{_alias}.{_c}", _c == "id")
    for _i, _c in enumerate(("ctime", "mtime")):  # of its attachment to the object
        COLUMNS[_base + 4 + _i] = (_alias, f"o_{_alias}.{_c}", False)
_LEVEL = (
    "CASE {a}.level WHEN 1000 THEN 'null' WHEN 1040 THEN 'read_metadata' WHEN 1050 THEN"
    " 'read_object' WHEN 1070 THEN 'create_metadata' WHEN 1080 THEN 'modify_metadata' WHEN 1090"
    " THEN 'delete_metadata' WHEN 1110 THEN 'create_object' WHEN 1120 THEN 'modify_object'"
    " WHEN 1130 THEN 'delete_object' ELSE 'own' END"
)
for _base, _alias in ((700, "da"), (710, "ca")):
    COLUMNS[_base] = (_alias, f"{_alias}.level", True)
    COLUMNS[_base + 1] = (_alias, "(" + _LEVEL.format(a=_alias) + ")", False)
    COLUMNS[_base + 2] = (_alias, "('access_type')", False)
    COLUMNS[_base + 3] = (_alias, f"{_alias}.user_id", True)
    COLUMNS[_base + 4] = (_alias, f"{_alias}.object_id", True)
_columns("grp", {900: "id", 901: "name"}, {900})
_columns("cu", {1300: "name", 1301: "zone"})
_columns("du", {1310: "name", 1311: "zone"})
_columns("ua", {1600: "user_id", 1601: "dn"}, {1600})
for _i, _kind in enumerate(("host", "user", "group")):
    _columns(f"t{_kind}", {2220 + 2 * _i: "ticket_id", 2221 + 2 * _i: "name"}, {2220 + 2 * _i})
_columns("tdata", {2226: "name", 2227: "coll"})
_columns("tcoll", {2228: "name"})
_columns("towner", {2229: "name", 2230: "zone"})
_columns(
    "rule",
    {1000: "rule_exec_id", 1001: "rule_name", 1002: "rei_file_path", 1003: "user_name",
     1004: "exe_address", 1005: "exe_time", 1006: "exe_frequency", 1007: "priority",
     1008: "estimated_exe_time", 1009: "notification_addr", 1010: "last_exe_time",
     1011: "exe_status", 1012: "exe_context"}, {1000},
)  # fmt: skip
_columns(
    "ticket",
    {2200: "id", 2201: "string", 2202: "type", 2203: "user_id", 2204: "object_id",
     2205: "object_type", 2206: "uses_limit", 2207: "uses_count", 2208: "expiry", 2209: "ctime",
     2210: "mtime", 2211: "wfile_count", 2212: "wfile_limit", 2213: "wbyte_count",
     2214: "wbyte_limit"}, {2200, 2203, 2204, 2206, 2207, 2211, 2212, 2213, 2214},
)  # fmt: skip
_columns(
    "quota", {2000: "user_id", 2001: "resc_id", 2002: "lim", 2003: "over", 2004: "mtime"},
    {2000, 2001, 2002, 2003},
)  # fmt: skip
_columns("usage", {2010: "user_id", 2011: "resc_id", 2012: "usage", 2013: "mtime"},
         {2010, 2011, 2012})  # fmt: skip

# A table joins the first of these that is already in the query; order matters.
_JOINS: list[tuple[str, str, str, str]] = [
    # alias, needs, from, condition
    ("data", "coll", "JOIN data", "data.coll_id=coll.id"),
    ("coll", "data", "JOIN coll", "data.coll_id=coll.id"),
    ("resc", "data", "JOIN resc", "resc.id=data.resc_id"),
    ("data", "resc", "JOIN data", "resc.id=data.resc_id"),
    ("da", "data", "JOIN access da", "da.object_id=data.id"),
    ("ca", "coll", "JOIN access ca", "ca.object_id=coll.id"),
    ("user", "da", "JOIN user", "user.id=da.user_id"),
    ("cu", "ca", "JOIN user cu", "cu.id=ca.user_id"),
    ("user", "ca", "JOIN user", "user.id=ca.user_id"),
    ("du", "da", "JOIN user du", "du.id=da.user_id"),
    ("da", "du", "JOIN access da", "du.id=da.user_id"),
    ("ca", "cu", "JOIN access ca", "cu.id=ca.user_id"),
    ("ua", "user", "JOIN user_auth ua", "ua.user_id=user.id"),
    ("data", "da", "JOIN data", "da.object_id=data.id"),
    ("coll", "ca", "JOIN coll", "ca.object_id=coll.id"),
    ("da", "user", "JOIN access da", "user.id=da.user_id"),
    ("ca", "user", "JOIN access ca", "user.id=ca.user_id"),
    ("user", "ua", "JOIN user", "ua.user_id=user.id"),
    *(
        (
            f"t{k}",
            "ticket",
            f"JOIN ticket_limit t{k}",
            f"t{k}.ticket_id=ticket.id AND t{k}.kind='{k}'",
        )
        for k in ("host", "user", "group")
    ),
    (
        "tdata",
        "ticket",
        "JOIN (SELECT DISTINCT d.id, d.name, c.name AS coll FROM data d"
        " JOIN coll c ON c.id=d.coll_id) tdata",
        "tdata.id=ticket.object_id",
    ),
    ("tcoll", "ticket", "JOIN coll tcoll", "tcoll.id=ticket.object_id"),
    ("towner", "ticket", "JOIN user towner", "towner.id=ticket.user_id"),
    ("data", "ticket", "JOIN data", "data.id=ticket.object_id"),
    ("coll", "ticket", "JOIN coll", "coll.id=ticket.object_id"),
]
_META_OF = {"dm": "data", "cm": "coll", "rm": "resc", "um": "user"}
_NAMES = {
    "zone": "zone", "user": "user", "resc": "resc", "data": "data", "coll": "coll",
    "grp": "user grp", "cu": "user cu", "du": "user du", "da": "access da", "ca": "access ca",
    "ticket": "ticket", "quota": "quota", "usage": "quota_usage usage", "ua": "user_auth ua",
    "rule": "R_RULE_EXEC rule",
}  # fmt: skip

_QUOTED = r"'((?:[^']|'(?!\s*(?:$|,|\)|'|\|\||&&)))*)'"
_LIST = re.compile(r"'([^']*)'")


def _condition(sql: str, text: str, numeric: bool, args: list[Any], upper: bool) -> str:
    text = text.strip()
    for glue, word in (("||", " OR "), ("&&", " AND ")):
        if glue in text and re.search(rf"'\s*{re.escape(glue)}", text):
            parts = re.split(rf"(?<=')\s*{re.escape(glue)}\s*", text)
            return "(" + word.join(_condition(sql, p, numeric, args, upper) for p in parts) + ")"
    lower = text.lower()
    left = f"upper({sql})" if upper else sql
    if lower.startswith("between"):
        values = _LIST.findall(text)
        if len(values) != 2:
            raise IrodsError(codes.CAT_INVALID_ARGUMENT, text)
        args.extend(int(v) if numeric and v.isdigit() else v for v in values)
        return f"{left} BETWEEN ? AND ?"
    if re.match(r"(not\s+)?in\b", lower):
        values = _LIST.findall(text)
        args.extend(int(v) if numeric and v.lstrip("-").isdigit() else v for v in values)
        word = "NOT IN" if lower.startswith("not") else "IN"
        return f"{left} {word} ({','.join('?' * len(values))})"
    found = re.match(r"(n?(?:<>|!=|<=|>=|=|<|>)|not\s+like|like|begin_of|parent_of)\s*(.*)$",
                     text, re.S | re.I)  # fmt: skip
    if not found:
        raise IrodsError(codes.CAT_INVALID_ARGUMENT, f"condition {text}")
    op, raw = found[1].lower(), found[2].strip()
    if len(raw) < 2 or raw[0] != "'" or raw[-1] != "'":
        raise IrodsError(codes.CAT_INVALID_ARGUMENT, f"condition {text}")
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
class Visible:
    """What a query may show: to a user, and by a ticket an object or all ``below`` a path."""

    user_id: int
    object_id: int | None = None
    below: str = ""


class Query:
    """One GenQuery1 request turned to SQL."""

    def __init__(self, request: Node) -> None:
        selects = request.child("InxIvalPair_PI")
        wheres = request.child("InxValPair_PI")
        self.columns = [int(i) for i in selects.all("inx")]
        self.flags = [int(i) for i in selects.all("ivalue")]
        self.conditions = list(
            zip((int(i) for i in wheres.all("inx")), wheres.all("svalue"), strict=False)
        )
        self.options = request.num("options")
        for number in [*self.columns, *(n for n, _ in self.conditions)]:
            if number not in COLUMNS:
                raise IrodsError(codes.CAT_UNKNOWN_TABLE, f"unknown column {number}")

    def sql(self, who: Visible | None) -> tuple[str, list[Any]]:
        """SQL and its values; for somebody only what he may see."""
        upper = bool(self.options & _UPPER)
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
            if alias in _META_OF:
                # A second condition on the same metadata column means another AVU.
                nth = seen.get(number, 0)
                seen[number] = nth + 1
                if nth:
                    fresh = f"{alias}{nth}"
                    sql = re.sub(rf"\b(o_)?{alias}\.", rf"\1{fresh}.", sql)
                    self._need(needed, _META_OF[alias])
                    join = self._meta_join(fresh, _META_OF[alias])
                    if join not in extra:
                        extra.append(join)
                else:
                    self._need(needed, alias)
            else:
                self._need(needed, alias)
            conditions.append(_condition(sql, text, numeric, args, upper))
        where.extend(conditions)
        frm = self._from(needed, extra)
        if who is not None:
            self._restrict(needed, where, args, who)
        out, group, order = self._select()
        distinct = "" if self.options & _DISTINCT_OFF else "DISTINCT "
        text = f"SELECT {distinct}{', '.join(out)} FROM {frm}"
        if where:
            text += " WHERE " + " AND ".join(where)
        if len(group) < len(out) and group:
            text += " GROUP BY " + ", ".join(group)
        if order:
            text += " ORDER BY " + ", ".join(order)
        return text, args

    def _select(self) -> tuple[list[str], list[str], list[str]]:
        out, group, order = [], [], []
        words = {2: "min", 3: "max", 4: "sum", 5: "avg", 6: "count"}
        for number, flag in zip(self.columns, self.flags, strict=True):
            sql = COLUMNS[number][1]
            kind = flag & 0xFF
            if kind in words:
                out.append(f"{words[kind]}({sql})")
            else:
                out.append(sql)
                group.append(sql)
            if flag & 0x800:
                order.append(f"{out[-1]} DESC")
            elif flag & 0x400:
                order.append(out[-1])
        return out, group, order

    @staticmethod
    def _need(needed: list[str], alias: str) -> None:
        if alias in _META_OF and _META_OF[alias] not in needed:
            needed.append(_META_OF[alias])
        if alias not in needed:
            needed.append(alias)

    @staticmethod
    def _meta_join(alias: str, of: str) -> str:
        return (
            f"JOIN objt o_{alias} ON o_{alias}.object_id={of}.id"
            f" JOIN meta {alias} ON {alias}.id=o_{alias}.meta_id"
        )

    def _from(self, needed: list[str], extra: list[str]) -> str:
        for names, rights in (("cu", "ca"), ("du", "da")):
            if names in needed and rights not in needed:
                needed.append(rights)
        if "user" in needed and "data" in needed and not {"da", "ca", "ticket"} & set(needed):
            needed.append("da")
        elif "user" in needed and "coll" in needed and not {"da", "ca", "ticket"} & set(needed):
            needed.append("ca")
        if any(a.startswith("t") and a != "ticket" for a in needed) or "ticket" in needed:
            needed[:] = ["ticket", *(a for a in needed if a != "ticket")]
            if "user" in needed:  # the users with rights on the ticket's data object
                needed.extend(a for a in ("data", "da") if a not in needed)
        both = "coll" in needed and ("resc" in needed or "da" in needed)
        if both and "data" not in needed:
            needed.append("data")
        tables = [a for a in needed if a not in _META_OF]
        if not tables:
            raise IrodsError(codes.CAT_NO_ROWS_FOUND, "no columns")
        done, parts = [tables[0]], [_NAMES[tables[0]]]
        todo = tables[1:]
        while todo:
            for alias in todo:
                join = next((j for j in _JOINS if j[0] == alias and j[1] in done), None)
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
                parts.append(f"CROSS JOIN {_NAMES[alias]}")
                done.append(alias)
        if needed and done == ["grp"]:
            extra.append("JOIN member mg ON mg.group_id=grp.id")
        parts.extend(self._meta_join(a, _META_OF[a]) for a in needed if a in _META_OF)
        return " ".join([*parts, *extra])

    @staticmethod
    def _restrict(needed: list[str], where: list[str], args: list[Any], who: Visible) -> None:
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
            if who.below:
                column = "data.coll_id" if target == "data" else "coll.id"
                seen += f" OR {column} IN (SELECT id FROM coll WHERE name=? OR name>? AND name<?)"
                args.extend((who.below, who.below + "/", who.below + "0"))
            seen += ")"
        where.append(seen)


def run(cat: Catalog, query: Query, who: Visible | None) -> list[tuple[Any, ...]]:
    """All rows of a query, or those that a user may see."""
    sql, args = query.sql(who)
    return [tuple(r) for r in cat.db.execute(sql, args)]


def reply(columns: list[int], rows: list[tuple[Any, ...]], more: int, total: int) -> bytes:
    """GenQueryOut_PI, as the real server lays it out."""
    out = [
        f"<GenQueryOut_PI>\n<rowCnt>{len(rows)}</rowCnt>\n<attriCnt>{len(columns)}</attriCnt>\n"
        f"<continueInx>{more}</continueInx>\n<totalRowCount>{total}</totalRowCount>\n"
    ]
    for i, number in enumerate(columns):
        values = ["" if r[i] is None else esc(r[i]) for r in rows]
        # A hierarchy is made by the server, not a database column, and has no least width.
        least = 0 if number == _HIERARCHY else _WIDTH
        size = max(least, max(map(len, values), default=0) + 1)
        inner = "".join(f"<value>{v}</value>\n" for v in values)
        out.append(
            f"<SqlResult_PI>\n<attriInx>{number}</attriInx>\n<reslen>{size}</reslen>\n{inner}"
            "</SqlResult_PI>\n"
        )
    out.append(_UNUSED * (_SLOTS - len(columns)))
    out.append("</GenQueryOut_PI>\n")
    return "".join(out).encode()


EMPTY = (
    "<GenQueryOut_PI>\n<rowCnt>0</rowCnt>\n<attriCnt>0</attriCnt>\n<continueInx>0</continueInx>\n"
    "<totalRowCount>0</totalRowCount>\n" + _UNUSED * _SLOTS + "</GenQueryOut_PI>\n"
).encode()
