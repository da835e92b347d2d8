"""UIDs, and the names of files and collections that are made of them.

What a data set, manifest or catalog says becomes part of a path by these functions and in no
other way.
"""

from __future__ import annotations

import re
from pathlib import Path

from pacsgrid.errors import HeldError

# Digits and dots, no component empty, below one of the three roots of ISO/IEC 9834-1. A component
# with leading zeros is against PS3.5 9.1, but devices write them and such a name is harmless.
_UID = re.compile(r"[0-2](?:\.[0-9]+)+", re.ASCII)
_LONGEST = 64
# Subjects and references: nothing that a file system or zone reads as more than a name.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)


def is_uid(text: str) -> bool:
    """Say whether a text is a UID (PS3.5 9.1), leading zeros in its components allowed."""
    return len(text) <= _LONGEST and _UID.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """Say whether a text may be a subject or reference, and a folder's name."""
    return _NAME.fullmatch(text) is not None


def named(text: str) -> str:
    """Return a subject or reference that may be part of a path.

    Raises
    ------
    HeldError
        ``not-uid``: it is something else; the text does not quote it.
    """
    if is_name(text):
        return text
    raise HeldError("not-uid", "what should name a folder is no subject and no reference")


def checked(uid: str) -> str:
    """Return a UID that may be part of a path.

    Raises
    ------
    HeldError
        ``not-uid``: it is something else; the text does not quote it.
    """
    if is_uid(uid):
        return uid
    raise HeldError(
        "not-uid", "what should name a file is no UID (PS3.5 9.1); correct it at its origin"
    )


def inside(root: Path, path: Path) -> Path:
    """Return a path that lies below a folder by its name alone.

    Raises
    ------
    HeldError
        ``not-uid``: it leads elsewhere.
    """
    if ".." not in path.parts and path != root and path.is_relative_to(root):
        return path
    raise HeldError("not-uid", "a result would not lie in its folder; nothing was written")


def place(root: Path, *uids: str, suffix: str = "") -> Path:
    """Return the path of UIDs below a folder; raises HeldError, see `checked`."""
    path = root.joinpath(*(checked(uid) for uid in uids))
    return path.with_name(path.name + suffix) if suffix else path


def collection(root: str, *uids: str, suffix: str = "") -> str:
    """Return the path of UIDs below a collection; raises HeldError, see `checked`."""
    return "/".join([root, *(checked(uid) for uid in uids)]) + suffix
