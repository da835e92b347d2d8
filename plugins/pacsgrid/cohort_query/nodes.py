"""What a parsed query is made of. A query is about series; each inherits its study's attributes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Present:
    """The attribute has a value."""

    attribute: str


@dataclass(frozen=True)
class Texts:
    """A value equals one of some texts; ``*`` and ``?`` in a text are wild cards."""

    attribute: str
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Words:
    """A value has every one of some words; a word may end with ``*``."""

    attribute: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Numbers:
    """A value lies between two numbers, both inclusive unless they are open; None is no limit."""

    attribute: str
    low: float | None
    high: float | None
    low_open: bool = False
    high_open: bool = False


@dataclass(frozen=True)
class InZone:
    """The study has a verified copy in a zone."""

    zone: str


@dataclass(frozen=True)
class Not:
    """The part does not hold."""

    part: Node


@dataclass(frozen=True)
class All:
    """Every part holds."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Any:
    """One of the parts holds."""

    parts: tuple[Node, ...]


Node = Present | Texts | Words | Numbers | InZone | Not | All | Any
