"""AVUs and rights that a put brings along, as ``iput --metadata`` and ``--acl`` send them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .access_control import access_level, require_access, set_access, user_or_group_id
from .catalog import OWN, WRITE
from .error_codes import ErrorCode
from .errors import IrodsError
from .metadata import add_avu
from .session import Session


def _split_list(text: str, delimiters: str) -> list[str]:
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
class PutOptions:
    """What is to be attached to an object once it is there."""

    avus: list[tuple[str, str, str]]
    rights: list[tuple[str, str]]

    @classmethod
    def read(cls, keywords: dict[str, str]) -> PutOptions:
        """Read a put's keywords; raises `IrodsError` (SYS_BAD_INPUT) if they are ill formed."""
        avus: list[tuple[str, str, str]] = []
        if keywords.get("metadataIncluded"):
            words = _split_list(keywords["metadataIncluded"], ";")
            if len(words) % 3 == 2:
                words.append("")
            if len(words) % 3:
                raise IrodsError(ErrorCode.SYS_BAD_INPUT, "metadata are triplets")
            avus = [(a, v, u) for a, v, u in zip(*[iter(words)] * 3, strict=True)]
        rights: list[tuple[str, str]] = []
        for one in re.split(r"(?<!\\);", keywords.get("aclIncluded", "")):
            words = [word for word in _split_list(one, " ") if word]
            if words and len(words) != 2:
                raise IrodsError(ErrorCode.SYS_BAD_INPUT, "a right is a level and a user")
            rights += [(words[0], words[1])] if words else []
        return cls(avus, rights)

    def apply(self, session: Session, path: str) -> None:
        """Attach all of it to an object; the user must be allowed to."""
        if not (self.avus or self.rights):
            return
        object_id = int(session.catalog.replicas(path)[0]["id"])
        with session.catalog.transaction(durable=True) as db:
            for avu in self.avus:
                require_access(session, object_id, WRITE)
                add_avu(db, session, object_id, avu, strict=False)
            for level, user in self.rights:
                require_access(session, object_id, OWN)
                set_access(db, object_id, user_or_group_id(session, user, ""), access_level(level))
