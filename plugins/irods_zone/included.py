"""AVUs and rights that a put brings along, as ``iput --metadata`` and ``--acl`` send them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from . import codes
from .api_acl import grant, grantee, level_of
from .api_meta import add
from .catalog import OWN, WRITE
from .objects import need
from .session import Session
from .wire import IrodsError


def _split(text: str, delimiters: str) -> list[str]:
    """The words of a list; a backslash takes its meaning from the character behind it."""
    words, escaped = [""], False
    for c in text:
        if escaped or (c != "\\" and c not in delimiters):
            words[-1] += c
            escaped = False
        elif c == "\\":
            escaped = True
        else:
            words.append("")
    return words


@dataclass(frozen=True)
class Included:
    """What is to be attached to an object once it is there."""

    avus: list[tuple[str, str, str]]
    rights: list[tuple[str, str]]

    @classmethod
    def read(cls, kw: dict[str, str]) -> Included:
        """Read a put's keywords; raises `IrodsError` (SYS_BAD_INPUT) if they are ill formed."""
        avus: list[tuple[str, str, str]] = []
        if kw.get("metadataIncluded"):
            words = _split(kw["metadataIncluded"], ";")
            if len(words) % 3 == 2:
                words.append("")
            if len(words) % 3:
                raise IrodsError(codes.SYS_BAD_INPUT, "metadata are triplets")
            avus = [(a, v, u) for a, v, u in zip(*[iter(words)] * 3, strict=True)]
        rights: list[tuple[str, str]] = []
        for one in re.split(r"(?<!\\);", kw.get("aclIncluded", "")):
            words = [word for word in _split(one, " ") if word]
            if words and len(words) != 2:
                raise IrodsError(codes.SYS_BAD_INPUT, "a right is a level and a user")
            rights += [(words[0], words[1])] if words else []
        return cls(avus, rights)

    def apply(self, s: Session, path: str) -> None:
        """Attach all of it to an object; the user must be allowed to."""
        if not (self.avus or self.rights):
            return
        object_id = int(s.cat.replicas(path)[0]["id"])
        with s.cat.tx(durable=True) as db:
            for avu in self.avus:
                need(s, object_id, WRITE)
                add(db, s, object_id, avu, strict=False)
            for level, user in self.rights:
                need(s, object_id, OWN)
                grant(db, object_id, grantee(s, user, ""), level_of(level))
