"""Metadata and access that come with a put, from ``iput --metadata`` and ``--acl``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .access_control import access_level, require_access, require_user, set_access
from .catalog import OWN, WRITE
from .error_codes import ErrorCode
from .errors import IrodsError
from .metadata import add_avu
from .session import Session


def _split_list(text: str, delimiters: str) -> list[str]:
    """Split a list at its delimiters; a backslash quotes the character after it."""
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
    """What to attach to a data object when it is complete.

    Attributes
    ----------
    avus : list of tuple
        Attribute, value and units.
    access : list of tuple
        Name of an access level, and a user or group.
    """

    avus: list[tuple[str, str, str]]
    access: list[tuple[str, str]]

    @classmethod
    def read(cls, keywords: dict[str, str]) -> PutOptions:
        """Read the keywords of a put; raise SYS_BAD_INPUT if they are malformed."""
        avus: list[tuple[str, str, str]] = []
        if keywords.get("metadataIncluded"):
            words = _split_list(keywords["metadataIncluded"], ";")
            if len(words) % 3 == 2:
                words.append("")
            if len(words) % 3:
                raise IrodsError(ErrorCode.SYS_BAD_INPUT, "metadata must be triplets")
            avus = [(a, v, u) for a, v, u in zip(*[iter(words)] * 3, strict=True)]
        access: list[tuple[str, str]] = []
        for one in re.split(r"(?<!\\);", keywords.get("aclIncluded", "")):
            words = [word for word in _split_list(one, " ") if word]
            if words and len(words) != 2:
                raise IrodsError(ErrorCode.SYS_BAD_INPUT, "access needs a level and a user")
            access += [(words[0], words[1])] if words else []
        return cls(avus, access)

    def apply(self, session: Session, path: str) -> None:
        """Attach AVUs and access to a data object.

        Parameters
        ----------
        session : Session
            The client's connection.
        path : str
            Logical path of the data object.

        Raises
        ------
        IrodsError
            The user may not, or an access level, user or group is unknown.
        """
        if not (self.avus or self.access):
            return
        object_id = int(session.catalog.replicas(path)[0]["id"])
        with session.catalog.transaction(durable=True) as db:
            for avu in self.avus:
                require_access(session, object_id, WRITE)
                add_avu(db, session, object_id, avu, strict=False)
            for level, user in self.access:
                require_access(session, object_id, OWN)
                set_access(db, object_id, require_user(session, user)["id"], access_level(level))
