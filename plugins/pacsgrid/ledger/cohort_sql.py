"""Compile a cohort query to SQL over the series ``x``."""

from __future__ import annotations

import re
from itertools import count

from pacsgrid.cohort_query import All, Any, InZone, Node, Not, Numbers, Present, Texts, Words
from pacsgrid.ledger.database import Database

PROJECT = "pacsgrid.project"
# A column of each series; its terms are as many as series have lengths.
_INSTANCES = "NumberOfSeriesRelatedInstances"
_TERMS = "SELECT id FROM pacsgrid.cohort_term WHERE attribute = %(attribute)s AND "
# An index scan for some terms compares all of them for each series that it finds.
_TERMS_AT_ONCE = 16
_LIKE_SIGNS = re.compile(r"([\\%_])")


def compile_query(
    database: Database, project: str, query: Node | None
) -> tuple[str, dict[str, object]]:
    """Return the condition that a series must meet, and its values.

    Parameters
    ----------
    database
        The ledger's database; the values that the query names are looked up in it.
    project
        The project whose series may match.
    query
        The query; None for every series.

    Returns
    -------
    tuple
        SQL, and the values of its placeholders.
    """
    compiler = _Compiler(database, project)
    where = compiler.has_terms(compiler.terms(PROJECT, "text = %(text)s", text=project))
    if query is not None:
        where = f"{where} AND {compiler.compile(query)}"
    return where, compiler.values


class _Compiler:
    def __init__(self, database: Database, project: str) -> None:
        self._database, self._project = database, project
        self._numbers = count()
        self.values: dict[str, object] = {}

    def terms(self, attribute: str, where: str, **values: object) -> list[int]:
        rows = self._database.all(_TERMS + where, {"attribute": attribute, **values})
        return [number for (number,) in rows]

    def _place(self, value: object) -> str:
        name = f"q{next(self._numbers)}"
        self.values[name] = value
        return f"%({name})s"

    def has_terms(self, terms: list[int]) -> str:
        if not terms:
            return "false"
        if len(terms) == 1:
            return f"x.terms @> {self._place(terms)}::integer[]"
        terms = sorted(terms)
        parts = [
            f"x.terms && {self._place(terms[start : start + _TERMS_AT_ONCE])}::integer[]"
            for start in range(0, len(terms), _TERMS_AT_ONCE)
        ]
        return parts[0] if len(parts) == 1 else f"({' OR '.join(parts)})"

    def compile(self, node: Node) -> str:
        if isinstance(node, All | Any):
            word = " AND " if isinstance(node, All) else " OR "
            return f"({word.join(self.compile(part) for part in node.parts)})"
        if isinstance(node, Not):
            return f"NOT {self.compile(node.part)}"
        if isinstance(node, InZone):
            return (
                "x.study IN (SELECT y.id FROM pacsgrid.coverage c JOIN pacsgrid.cohort_study y"
                f" USING (ref) WHERE c.project = {self._place(self._project)}"
                f" AND c.zone = {self._place(node.zone)} AND c.deposited AND c.least > 0)"
            )
        if isinstance(node, Numbers) and node.attribute == _INSTANCES:
            limits = []
            if node.low is not None:
                limits.append(
                    f"x.instances {'>' if node.low_open else '>='} {self._place(node.low)}"
                )
            if node.high is not None:
                limits.append(
                    f"x.instances {'<' if node.high_open else '<='} {self._place(node.high)}"
                )
            return f"({' AND '.join(limits) or 'true'})"
        return self.has_terms(self._leaf(node))

    def _leaf(self, node: Present | Texts | Words | Numbers) -> list[int]:
        if isinstance(node, Present):
            return self.terms(node.attribute, "text = ''")
        if isinstance(node, Texts):
            plain = [text for text in node.texts if not set(text) & set("*?")]
            found = self.terms(node.attribute, "text = ANY(%(texts)s)", texts=plain)
            for text in node.texts:
                if text not in plain:
                    found += self.terms(
                        node.attribute, "text LIKE %(like)s AND text <> ''", like=_like(text)
                    )
            return list(set(found))
        if isinstance(node, Words):
            words = [_word(word) for word in node.words]
            return self.terms(node.attribute, "text <> '' AND text ~ ALL(%(words)s)", words=words)
        return self._numeric(node)

    def _numeric(self, node: Numbers) -> list[int]:
        where = ["low IS NOT NULL"]
        values: dict[str, object] = {}
        if node.low is not None:
            where.append(f"high {'>' if node.low_open else '>='} %(low)s")
            values["low"] = node.low
        if node.high is not None:
            where.append(f"low {'<' if node.high_open else '<='} %(high)s")
            values["high"] = node.high
        return self.terms(node.attribute, " AND ".join(where), **values)


def _like(text: str) -> str:
    return _LIKE_SIGNS.sub(r"\\\1", text).replace("*", "%").replace("?", "_")


def _word(word: str) -> str:
    """Return the regular expression of a whole word, or of the beginning of one."""
    if word.endswith("*"):
        return rf"\m{word[:-1]}"
    return rf"\m{word}\M"
