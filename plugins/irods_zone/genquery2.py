"""GenQuery2: a query language like SQL, compiled to SQL over the catalog's views.

As on the real server, data objects and collections are joined with the users who have access to
them, so a row comes once for each of these unless DISTINCT is used. The default limit is 256 rows.
"""

from __future__ import annotations

import re
import sqlite3

from . import catalog_views
from .catalog import READ, Catalog
from .error_codes import ErrorCode
from .errors import IrodsError
from .genquery2_columns import COLUMNS, ID, JOINS, OWNERS, mappings

__all__ = ["mappings", "run", "to_sql"]

DEFAULT_LIMIT = 256
_ACCESS = (("R_DATA_MAIN", "pd"), ("R_COLL_MAIN", "pc"))

_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^']|'')*')|(?P<number>-?\d+)|(?P<word>[A-Za-z_]\w*)"
    r"|(?P<sign><=|>=|<>|!=|[=<>(),]))"
)
_COMPARISONS = {"=", "!=", "<>", "<", ">", "<=", ">="}


def _syntax_error(message: str) -> IrodsError:
    """Return the error for a query that cannot be compiled."""
    return IrodsError(ErrorCode.SYS_INVALID_INPUT_PARAM, f"GenQuery2: {message}", to_client=True)


class _Compiler:
    """A recursive-descent compiler: it emits SQL and collects the tables and values it needs."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        at, text = 0, text.strip()
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None or found.lastgroup is None:
                raise _syntax_error(f"cannot parse {text[at : at + 20]!r}")
            self.tokens.append((found.lastgroup, found[found.lastgroup]))
            at = found.end()
        self.at = 0
        self.tables: list[str] = []
        self.metadata: list[str] = []
        self.values: list[str] = []

    def accept(self, *words: str) -> bool:
        """Skip these keywords or signs if they come next; return whether they do."""
        ahead = [t for k, t in self.tokens[self.at : self.at + len(words)] if k != "string"]
        if [t.upper() for t in ahead] != list(words):
            return False
        self.at += len(words)
        return True

    def expect(self, *words: str) -> None:
        """Skip these keywords or signs, which must come next."""
        if not self.accept(*words):
            raise self.unexpected(" ".join(words))

    def take(self, kind: str) -> str:
        """Return the next token, which must be of this kind."""
        if self.at >= len(self.tokens) or self.tokens[self.at][0] != kind:
            raise self.unexpected(f"a {kind}")
        self.at += 1
        return self.tokens[self.at - 1][1]

    def unexpected(self, wanted: str) -> IrodsError:
        """Return the error for a token that is not the wanted one."""
        got = self.tokens[self.at][1] if self.at < len(self.tokens) else "the end"
        return _syntax_error(f"expected {wanted}, found {got}")

    def column(self, name: str) -> str:
        """Return the SQL of a column and note its table."""
        found = COLUMNS.get(name.upper())
        if found is None:
            raise _syntax_error(f"unknown column {name}")
        alias, _, column = found
        table = OWNERS.get(alias, alias)
        if table not in self.tables:
            self.tables.append(table)
        if alias.startswith("mm") and alias not in self.metadata:
            self.metadata.append(alias)
        return f"{alias}.{column}"

    def expression(self) -> str:
        """Return the SQL of a column, a cast or a function."""
        name = self.take("word")
        if name.upper() == "CAST" and self.accept("("):
            column = self.column(self.take("word"))
            self.expect("AS")
            kind = self.take("word")
            if self.accept("("):
                kind += f"({int(self.take('number'))})"
                self.expect(")")
            self.expect(")")
            return f"cast({column} as {kind})"
        if not self.accept("("):
            return self.column(name)
        distinct = "distinct " if self.accept("DISTINCT") else ""
        arguments: list[str] = []
        while not self.accept(")"):
            if arguments:
                self.expect(",")
            kind = self.tokens[self.at][0] if self.at < len(self.tokens) else ""
            arguments.append(self.take(kind) if kind in ("string", "number") else self.expression())
        return f"{name}({distinct}{', '.join(arguments)})"

    def expression_list(self) -> list[str]:
        """Return the SQL of expressions separated by commas."""
        found = [self.expression()]
        while self.accept(","):
            found.append(self.expression())
        return found

    def or_condition(self) -> str:
        """Return the SQL of conditions joined by OR."""
        found = self.and_condition()
        while self.accept("OR"):
            found += f" or {self.and_condition()}"
        return found

    def and_condition(self) -> str:
        """Return the SQL of conditions joined by AND."""
        found = self.condition()
        while self.accept("AND"):
            found += f" and {self.condition()}"
        return found

    def value(self) -> str:
        """Return a placeholder for a string literal and note its value."""
        self.values.append(self.take("string")[1:-1].replace("''", "'"))
        return "?"

    def condition(self) -> str:
        """Return the SQL of one condition, possibly negated or in parentheses."""
        if self.accept("NOT"):
            return f"not {self.condition()}"
        if self.accept("("):
            inner = self.or_condition()
            self.expect(")")
            return f"({inner})"
        left = self.expression()
        if self.accept("IS", "NULL"):
            return f"{left} is null"
        if self.accept("IS", "NOT", "NULL"):
            return f"{left} is not null"
        word = " not" if self.accept("NOT") else ""
        if self.accept("LIKE"):
            return f"{left}{word} like {self.value()} escape '\\'"
        if self.accept("BETWEEN"):
            low = self.value()
            self.expect("AND")
            return f"{left}{word} between {low} and {self.value()}"
        if self.accept("IN"):
            self.expect("(")
            marks = [self.value()]
            while self.accept(","):
                marks.append(self.value())
            self.expect(")")
            return f"{left}{word} in ({', '.join(marks)})"
        sign = "" if word else self.take("sign")
        if sign not in _COMPARISONS:
            raise self.unexpected("a comparison")
        return f"{left} {sign} {self.value()}"

    def order_by(self) -> str:
        """Return the ORDER BY clause, or nothing."""
        if not self.accept("ORDER", "BY"):
            return ""
        parts: list[str] = []
        while not parts or self.accept(","):
            part = self.expression()
            parts.append(part + (" desc" if self.accept("DESC") else ""))
            self.accept("ASC")
        return " order by " + ", ".join(parts)

    def limit_and_offset(self) -> tuple[str, str]:
        """Return limit and offset, which may come in either order."""
        limit = offset = ""
        for _ in range(2):
            if not offset and self.accept("OFFSET"):
                offset = self.take("number")
            elif not limit and self.accept("LIMIT"):
                limit = self.take("number")
            elif not limit and self.accept("FETCH", "FIRST"):
                limit = self.take("number")
                self.expect("ROWS", "ONLY")
        return limit, offset

    def from_clause(self) -> str:
        """Return the tables, each joined to one before it."""
        first, *rest = self.tables
        text, done = f"{first} {first}", [first]
        while rest:
            for table in rest:
                pairs = ((min(d, table), max(d, table)) for d in done)
                rule = next((JOINS[pair] for pair in pairs if pair in JOINS), "")
                if rule:
                    text += f" inner join {table} {table} on {rule}"
                    done.append(table)
                    rest.remove(table)
                    break
            else:
                raise _syntax_error(f"cannot join {', '.join(rest)}")
        for table, p in _ACCESS:
            if table in done:
                text += (
                    f" inner join R_OBJT_ACCESS {p}oa on {p}oa.object_id = {table}.{ID[table]}"
                    f" inner join R_TOKN_MAIN {p}t on {p}t.token_id = {p}oa.access_type_id"
                    f" inner join R_USER_GROUP {p}ug on {p}ug.group_user_id = {p}oa.user_id"
                    f" inner join R_USER_MAIN {p}u on {p}u.user_id = {p}ug.user_id"
                )
        for alias in self.metadata:
            table = OWNERS[alias]
            text += (
                f" left join R_OBJT_METAMAP o{alias} on o{alias}.object_id = {table}.{ID[table]}"
                f" left join R_META_MAIN {alias} on {alias}.meta_id = o{alias}.meta_id"
            )
        return text


def to_sql(query: str, user: tuple[str, str] | None) -> tuple[str, list[str]]:
    """Compile a query.

    Parameters
    ----------
    query : str
        The query.
    user : tuple of str or None
        Name and zone of the user to whom the result is restricted; None shows all.

    Returns
    -------
    str
        The SQL.
    list of str
        Values of its parameters.

    Raises
    ------
    IrodsError
        SYS_INVALID_INPUT_PARAM: the query is wrong; the client is told why.
    """
    c = _Compiler(query)
    c.expect("SELECT")
    distinct = "distinct " if c.accept("DISTINCT") else ""
    columns = ", ".join(c.expression_list())
    where = [f"({c.or_condition()})"] if c.accept("WHERE") else []
    group = f" group by {', '.join(c.expression_list())}" if c.accept("GROUP", "BY") else ""
    order = c.order_by()
    limit, offset = c.limit_and_offset()
    order = order or c.order_by()
    if c.at < len(c.tokens):
        raise c.unexpected("the end")
    if not c.tables:
        raise _syntax_error("no columns")
    if user is not None:
        for table, p in _ACCESS:
            if table in c.tables:
                where.append(
                    f"{p}u.user_name = ? and {p}u.zone_name = ? and {p}oa.access_type_id >= {READ}"
                )
                c.values.extend(user)
    text = f"select {distinct}{columns} from {c.from_clause()}"
    if where:
        text += " where " + " and ".join(where)
    text += f"{group}{order} limit {abs(int(limit or DEFAULT_LIMIT))}"
    return text + (f" offset {abs(int(offset))}" if offset else ""), c.values


def run(catalog: Catalog, sql: str, values: list[str]) -> list[list[str]]:
    """Run compiled SQL.

    Parameters
    ----------
    catalog : Catalog
        The catalog.
    sql : str
        The SQL.
    values : list of str
        Values of its parameters.

    Returns
    -------
    list of list of str
        The rows.

    Raises
    ------
    IrodsError
        CAT_SQL_ERR: the database refuses; the client is told why.
    """
    try:
        rows = catalog_views.run_readonly(catalog, sql, tuple(values))
    except sqlite3.Error as e:
        raise IrodsError(ErrorCode.CAT_SQL_ERR, f"GenQuery2: {e}", to_client=True) from None
    return [["" if v is None else str(v) for v in row] for row in rows]
