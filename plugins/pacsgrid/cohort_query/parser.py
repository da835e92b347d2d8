"""Parse a cohort query.

::

    query      = part ("or" part)*
    part       = factor ("and" factor)*
    factor     = "not" factor | "(" query ")" | condition
    condition  = "has" NAME | "zone" "=" VALUE | NAME
               | NAME ("=" | "!=") (VALUE | LOW..HIGH) | NAME ("<" | "<=" | ">" | ">=") VALUE
               | NAME "~" WORDS | NAME "in" "(" VALUE ("," VALUE)* ")"
               | NAME "between" VALUE "and" VALUE

Names and keywords may be in any case. A value with spaces or signs stands in quotes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pacsgrid.cohort_query.attributes import (
    Attribute,
    Kind,
    find_attribute,
    fold,
    number_range,
    similar_attribute,
)
from pacsgrid.cohort_query.nodes import All, Any, InZone, Node, Not, Numbers, Present, Texts, Words
from pacsgrid.errors import ConfigError

LONGEST = 4000
_DEEPEST = 50
_TOKEN = re.compile(
    r"""\s*(?:(?P<sign><=|>=|!=|[()=<>~,])|"(?P<double>[^"]*)"|'(?P<single>[^']*)'"""
    r"""|(?P<word>[^\s()=<>~,"'!]+))"""
)
_RESERVED = {"and", "or", "not", "has", "in", "between"}
_MODALITY = re.compile(r"[A-Z][A-Z0-9]{1,15}")
_EXAMPLES = {
    Kind.AGE: "years such as 64, or 18M",
    Kind.DATE: "a date such as 2020-05-17, 2020-05 or 2020",
    Kind.TIME: "a time such as 10:15",
    Kind.NUMBER: "a number such as 1.5",
}


class CohortQueryError(ConfigError):
    """A query cannot be understood.

    Parameters
    ----------
    what
        What is wrong, and what to write.
    place
        Number of the character where it is, counted from 0.
    """

    def __init__(self, what: str, place: int) -> None:
        super().__init__(f"cohort query, character {place + 1}: {what}")
        self.place = place


@dataclass(frozen=True)
class _Token:
    kind: str  # "sign", "word", "quoted" or "end"
    text: str
    place: int

    def __str__(self) -> str:
        return "the end" if self.kind == "end" else repr(self.text)


def parse(text: str) -> Node:
    """Parse a query.

    Raises
    ------
    CohortQueryError
        It cannot be understood; the message says where and what to write.
    """
    if len(text) > LONGEST:
        raise CohortQueryError(f"a query has at most {LONGEST} characters", LONGEST)
    parser = _Parser(_tokens(text))
    found = parser.query()
    parser.expect_end()
    return found


def parse_all(criteria: Sequence[str]) -> Node | None:
    """Parse queries every one of which must hold; return None if there is none."""
    parts = tuple(parse(text) for text in criteria if text.strip())
    return (parts[0] if len(parts) == 1 else All(parts)) if parts else None


def _tokens(text: str) -> list[_Token]:
    found, at = [], 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            place = at + len(text[at:]) - len(text[at:].lstrip())
            what = "this quote is not closed" if text[place] in "\"'" else "unexpected sign"
            raise CohortQueryError(f"{what}: {text[place]}", place)
        group = match.lastgroup or "word"
        kind = "quoted" if group in ("double", "single") else group
        place = match.start(group) - (kind == "quoted")
        found.append(_Token(kind, match[group], place))
        at = match.end()
    return [*found, _Token("end", "", len(text))]


class _Parser:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens, self._at, self._depth = tokens, 0, 0

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        token = self._next
        self._at += token.kind != "end"
        return token

    def _is(self, word: str) -> bool:
        token = self._next
        return token.kind in ("word", "sign") and token.text.casefold() == word

    def _skip(self, word: str) -> bool:
        found = self._is(word)
        self._at += found
        return found

    def expect_end(self) -> None:
        token = self._next
        if token.kind != "end":
            hint = "write 'and' or 'or' before it, and put a value of several words in quotes"
            raise CohortQueryError(f"{token} is not expected here; {hint}", token.place)

    def query(self) -> Node:
        parts = [self._part()]
        while self._skip("or"):
            parts.append(self._part())
        return parts[0] if len(parts) == 1 else Any(tuple(parts))

    def _part(self) -> Node:
        parts = [self._factor()]
        while self._skip("and"):
            parts.append(self._factor())
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _factor(self) -> Node:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise CohortQueryError("too many parentheses or 'not'", self._next.place)
        try:
            if self._skip("not"):
                return Not(self._factor())
            opened = self._next
            if self._skip("("):
                found = self.query()
                if not self._skip(")"):
                    raise CohortQueryError("this parenthesis is not closed", opened.place)
                return found
            return self._condition()
        finally:
            self._depth -= 1

    def _condition(self) -> Node:
        if self._skip("has"):
            return self._presence(self._take())
        name = self._take()
        if name.kind != "word" or name.text.casefold() in _RESERVED:
            raise CohortQueryError(
                f"an attribute is expected, such as Modality, not {name}", name.place
            )
        if name.text.casefold() == "zone":
            return self._zone()
        attribute = _attribute(name)
        operator = self._next
        if self._skip("in"):
            return self._listed(attribute)
        if self._skip("between"):
            low = self._value()
            if not self._skip("and"):
                raise CohortQueryError("write: between LOW and HIGH", self._next.place)
            return _span(attribute, low, self._value())
        for sign in ("=", "!=", "<=", ">=", "<", ">", "~"):
            if self._skip(sign):
                return self._compared(attribute, sign, operator)
        return Present(attribute.name)

    def _presence(self, name: _Token) -> Node:
        if name.kind == "word":
            if found := find_attribute(name.text):
                return Present(found.name)
            if _MODALITY.fullmatch(name.text):
                return Texts("ModalitiesInStudy", (fold(name.text),))
        raise CohortQueryError(
            f"after 'has', an attribute or a modality is expected, not {name}", name.place
        )

    def _zone(self) -> Node:
        negated = self._is("!=")
        if not (self._skip("=") or self._skip("!=")):
            raise CohortQueryError("write: zone = NAME", self._next.place)
        found = InZone(self._value().text)
        return Not(found) if negated else found

    def _value(self) -> _Token:
        token = self._take()
        if token.kind not in ("word", "quoted") or (
            token.kind == "word" and token.text.casefold() in _RESERVED
        ):
            raise CohortQueryError(f"a value is expected, not {token}", token.place)
        return token

    def _listed(self, attribute: Attribute) -> Node:
        if not self._skip("("):
            raise CohortQueryError("write: in (VALUE, VALUE)", self._next.place)
        values = [self._value()]
        while self._skip(","):
            values.append(self._value())
        if not self._skip(")"):
            raise CohortQueryError("a comma or ')' is expected", self._next.place)
        if attribute.kind is Kind.TEXT:
            return Texts(attribute.name, tuple(_folded(value) for value in values))
        return Any(tuple(_equal(attribute, value) for value in values))

    def _compared(self, attribute: Attribute, sign: str, operator: _Token) -> Node:
        value = self._value()
        if sign == "~":
            if attribute.kind is not Kind.TEXT:
                raise CohortQueryError(
                    f"{attribute.name} is no text; compare it with = < > or LOW..HIGH",
                    operator.place,
                )
            return _words(attribute, value)
        if sign in ("=", "!="):
            found = _equal(attribute, value)
            return Not(found) if sign == "!=" else found
        if attribute.kind is Kind.TEXT:
            raise CohortQueryError(
                f"{attribute.name} is a text, which {sign} does not compare; use = or ~",
                operator.place,
            )
        low, high = _number(attribute, value)
        if sign in (">", ">="):
            return Numbers(attribute.name, high if sign == ">" else low, None, low_open=sign == ">")
        return Numbers(attribute.name, None, low if sign == "<" else high, high_open=sign == "<")


def _attribute(name: _Token) -> Attribute:
    found = find_attribute(name.text)
    if found is None:
        similar = similar_attribute(name.text)
        hint = f"; did you mean {similar}?" if similar else "; it is written as DICOM's keyword"
        raise CohortQueryError(f"there is no attribute {name.text!r}{hint}", name.place)
    return found


def _folded(value: _Token) -> str:
    text = fold(value.text)
    if not text:
        raise CohortQueryError("the value is empty; to ask for any, write: has NAME", value.place)
    return text.replace("%", "*")


def _words(attribute: Attribute, value: _Token) -> Node:
    words = tuple(re.findall(r"\w+\*?", fold(value.text)))
    if not words:
        raise CohortQueryError("words are expected after ~", value.place)
    return Words(attribute.name, words)


def _equal(attribute: Attribute, value: _Token) -> Node:
    if attribute.kind is Kind.TEXT:
        return Texts(attribute.name, (_folded(value),))
    low, dots, high = value.text.partition("..")
    if dots and low and high:
        return _span(
            attribute,
            _Token(value.kind, low, value.place),
            _Token(value.kind, high, value.place + len(low) + 2),
        )
    return Numbers(attribute.name, *_number(attribute, value))


def _span(attribute: Attribute, low: _Token, high: _Token) -> Node:
    if attribute.kind is Kind.TEXT:
        raise CohortQueryError(f"{attribute.name} is a text and has no range", low.place)
    least, greatest = _number(attribute, low)[0], _number(attribute, high)[1]
    if least > greatest:
        raise CohortQueryError(f"{low.text} is more than {high.text}; swap them", low.place)
    return Numbers(attribute.name, least, greatest)


def _number(attribute: Attribute, value: _Token) -> tuple[float, float]:
    found = number_range(attribute.kind, value.text)
    if found is None:
        raise CohortQueryError(
            f"{attribute.name} is compared with {_EXAMPLES[attribute.kind]}, not {value}",
            value.place,
        )
    return found
