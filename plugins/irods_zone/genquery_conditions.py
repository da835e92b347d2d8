"""Conditions of GenQuery1 queries, compiled to SQL."""

from __future__ import annotations

import re

from .error_codes import ErrorCode
from .errors import IrodsError

Value = str | int | float
Compiled = tuple[str, list[Value]]

_QUOTED = re.compile(r"'([^']*)'")
_OPERATOR = re.compile(
    r"(n?(?:<>|!=|<=|>=|=|<|>)|not\s+like|like|begin_of|parent_of)\s*(.*)$", re.S | re.I
)


def compile_condition(sql: str, text: str, numeric: bool, upper: bool) -> Compiled:
    """Compile a condition on a column.

    Parameters
    ----------
    sql : str
        SQL of the column.
    text : str
        The condition, such as ``= 'a' || like 'b%'``.
    numeric : bool
        Whether the column holds numbers.
    upper : bool
        Whether to compare the column in upper case.

    Returns
    -------
    str
        The SQL of the condition.
    list
        Values of its parameters.

    Raises
    ------
    IrodsError
        CAT_INVALID_ARGUMENT: the condition is malformed.
    """
    text = text.strip()
    for sign, word in (("||", " OR "), ("&&", " AND ")):
        if sign in text and re.search(rf"'\s*{re.escape(sign)}", text):
            parts = re.split(rf"(?<=')\s*{re.escape(sign)}\s*", text)
            compiled = [compile_condition(sql, part, numeric, upper) for part in parts]
            joined = word.join(part for part, _ in compiled)
            return f"({joined})", [value for _, values in compiled for value in values]
    left = f"upper({sql})" if upper else sql
    if text.lower().startswith("between"):
        return _between(left, text, numeric)
    if re.match(r"(not\s+)?in\b", text, re.I):
        return _in(left, text, numeric)
    found = _OPERATOR.match(text)
    value = found[2].strip() if found else ""
    if not found or len(value) < 2 or value[0] != "'" or value[-1] != "'":
        raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, f"condition {text}")
    return _comparison(sql, left, found[1].lower(), value[1:-1].replace("''", "'"), numeric)


def _between(left: str, text: str, numeric: bool) -> Compiled:
    values = _QUOTED.findall(text)
    if len(values) != 2:
        raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, text)
    return f"{left} BETWEEN ? AND ?", [int(v) if numeric and v.isdigit() else v for v in values]


def _in(left: str, text: str, numeric: bool) -> Compiled:
    values = [int(v) if numeric and v.lstrip("-").isdigit() else v for v in _QUOTED.findall(text)]
    word = "NOT IN" if text.lower().startswith("not") else "IN"
    return f"{left} {word} ({','.join('?' * len(values))})", values


def _comparison(sql: str, left: str, operator: str, value: str, numeric: bool) -> Compiled:
    if "like" in operator:
        word = "NOT LIKE" if operator.startswith("not") else "LIKE"
        return f"{left} {word} ? ESCAPE '\\'", [value]
    if operator == "begin_of":
        return f"? LIKE {left} || '%'", [value]
    if operator == "parent_of":
        return f"(? = {left} OR ? LIKE {left} || '/%')", [value, value]
    if operator.startswith("n"):  # compare as numbers what is stored as text
        return f"CAST({left} AS REAL) {operator[1:]} ?", [float(value)]
    if numeric:
        try:
            return f"{left} {operator} ?", [int(value)]
        except ValueError:
            return f"CAST({left} AS TEXT) {operator} ?", [value]
    if sql == "data.status" and value.isdigit():
        return f"{left} {operator} ?", [int(value)]
    return f"{left} {operator} ?", [value]
