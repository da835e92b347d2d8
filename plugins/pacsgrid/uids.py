"""UIDs, and the names of files and collections that are made of them.

Values of datasets, manifests and catalogs become part of a path through these functions only.
"""

from __future__ import annotations

import re
from pathlib import Path

from pacsgrid.errors import HeldError

# Digits and dots, no component empty, below one of the three roots of ISO/IEC 9834-1. A component
# with leading zeros is against PS3.5 9.1, but devices write them and such a name is harmless.
_UID = re.compile(r"[0-2](?:\.[0-9]+)+", re.ASCII)
_LONGEST = 64
# What sources and archives hold is not always a UID by PS3.5 9.1. Such values are matched and
# hashed, and never become part of a path.
_NUMERIC = re.compile(r"[0-9]+(?:\.[0-9]+)*", re.ASCII)
_ARCHIVED = re.compile(r"[0-9A-Za-z]+(?:\.[0-9A-Za-z]+)*", re.ASCII)
_DIGITS_AND_DOTS = re.compile(r"[0-9.]{1,64}", re.ASCII)
_SINGLE_VALUE = re.compile(r"[0-9A-Za-z._-]{1,128}", re.ASCII)
# Subjects and references: nothing that a file system or zone reads as more than a name.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)


def is_uid(text: str) -> bool:
    """Return whether a text is a UID (PS3.5 section 9.1); components may have leading zeros."""
    return len(text) <= _LONGEST and _UID.fullmatch(text) is not None


def is_numeric_uid(text: str) -> bool:
    """Return whether a text is built as a UID of digits, below any root.

    Some devices use roots that ISO/IEC 9834-1 does not know.
    """
    return len(text) <= _LONGEST and _NUMERIC.fullmatch(text) is not None


def is_archived_uid(text: str) -> bool:
    """Return whether a text is built as a UID of digits and letters.

    Letters are against PS3.5 9.1, but some archives hold digests as UIDs.
    """
    return len(text) <= _LONGEST and _ARCHIVED.fullmatch(text) is not None


def has_digits_and_dots(text: str) -> bool:
    """Return whether a text has a UID's characters and length, in any order.

    It tells a study's UID, even a malformed one, from the bytes of a file that is not DICOM.
    """
    return _DIGITS_AND_DOTS.fullmatch(text) is not None


def is_single_value(text: str) -> bool:
    """Return whether a query for this UID matches it alone: no wild card, list or space."""
    return _SINGLE_VALUE.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """Return whether a text may be a subject or reference, and so a folder's name."""
    return _NAME.fullmatch(text) is not None


def named(text: str) -> str:
    """Return a subject or reference that may be part of a path.

    Raises
    ------
    HeldError
        ``not-uid``: it is neither; the message does not quote it.
    """
    if is_name(text):
        return text
    raise HeldError("not-uid", "what should name a folder is no subject and no reference")


def checked(uid: str) -> str:
    """Return a UID that may be part of a path.

    Raises
    ------
    HeldError
        ``not-uid``: it is not a UID; the message does not quote it.
    """
    if is_uid(uid):
        return uid
    raise HeldError(
        "not-uid", "what should name a file is no UID (PS3.5 9.1); correct it at its origin"
    )


def inside(root: Path, path: Path) -> Path:
    """Return a path if it is below a folder, by its name alone.

    Parameters
    ----------
    root
        The folder.
    path
        The path to check; it need not exist.

    Raises
    ------
    HeldError
        ``not-uid``: it leads elsewhere.
    """
    if ".." not in path.parts and path != root and path.is_relative_to(root):
        return path
    raise HeldError("not-uid", "a result would not lie in its folder; nothing was written")


def place(root: Path, *uids: str, suffix: str = "") -> Path:
    """Return the path of UIDs below a folder; raise HeldError, see `checked`.

    Parameters
    ----------
    root
        The folder.
    *uids
        One UID for each level below it.
    suffix
        Appended to the last UID.
    """
    path = root.joinpath(*(checked(uid) for uid in uids))
    return path.with_name(path.name + suffix) if suffix else path


def collection(root: str, *uids: str, suffix: str = "") -> str:
    """Return the path of UIDs below a collection; raise HeldError, see `checked`.

    Parameters
    ----------
    root
        Path of the collection.
    *uids
        One UID for each level below it.
    suffix
        Appended to the last UID.
    """
    return "/".join([root, *(checked(uid) for uid in uids)]) + suffix
