"""UIDs, and the paths of files and collections that are made of them.

A value from a data set, manifest or catalog becomes part of a path only through these functions.
"""

from __future__ import annotations

import re
from pathlib import Path

from pacsgrid.errors import HeldError

# Digits and dots, no component empty, below one of the three roots of ISO/IEC 9834-1. PS3.5 9.1
# forbids leading zeros in components, but devices write them, and they do no harm in a path.
_UID = re.compile(r"[0-2](?:\.[0-9]+)+", re.ASCII)
_LONGEST = 64
# What sources and archives hold is not always a UID by PS3.5 9.1. Such values are matched and
# hashed, and never become part of a path.
_NUMERIC = re.compile(r"[0-9]+(?:\.[0-9]+)*", re.ASCII)
_ARCHIVED = re.compile(r"[0-9A-Za-z]+(?:\.[0-9A-Za-z]+)*", re.ASCII)
_DIGITS_AND_DOTS = re.compile(r"[0-9.]{1,64}", re.ASCII)
_SINGLE_VALUE = re.compile(r"[0-9A-Za-z._-]{1,128}", re.ASCII)
# Subjects and references: no character that has a meaning for file systems or iRODS.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)


def is_uid(text: str) -> bool:
    """Return whether a text is a UID (PS3.5 9.1); leading zeros in its components are allowed."""
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
    """Return whether a text has the form of a subject or reference, so may name a folder."""
    return _NAME.fullmatch(text) is not None


def named(text: str) -> str:
    """Return a subject or reference, checked for use in a path.

    Raises
    ------
    HeldError
        ``not-uid``: the text has another form. The message does not quote it.
    """
    if is_name(text):
        return text
    raise HeldError(
        "not-uid", "the name of a folder must be a subject or a reference, and this is neither"
    )


def checked(uid: str) -> str:
    """Return a UID, checked for use in a path.

    Raises
    ------
    HeldError
        ``not-uid``: the text has another form. The message does not quote it.
    """
    if is_uid(uid):
        return uid
    raise HeldError(
        "not-uid", "a value that names a file is no UID (PS3.5 9.1); correct it at its origin"
    )


def inside(root: Path, path: Path) -> Path:
    """Return a path, checked to be below a folder.

    Parameters
    ----------
    root
        The folder.
    path
        The path, which need not exist. Symbolic links are not resolved.

    Raises
    ------
    HeldError
        ``not-uid``: the path is outside of the folder.
    """
    if ".." not in path.parts and path != root and path.is_relative_to(root):
        return path
    raise HeldError("not-uid", "a result would be outside of its folder; nothing was written")


def place(root: Path, *uids: str, suffix: str = "") -> Path:
    """Return the path of a file or folder that UIDs name.

    Parameters
    ----------
    root
        The folder it is below.
    uids
        The UIDs, one for each level.
    suffix
        What follows the last UID, such as ``.dcm``.

    Raises
    ------
    HeldError
        ``not-uid``: one of them is no UID.
    """
    path = root.joinpath(*(checked(uid) for uid in uids))
    return path.with_name(path.name + suffix) if suffix else path


def collection(root: str, *uids: str, suffix: str = "") -> str:
    """Return the path of a collection or object that UIDs name.

    Parameters
    ----------
    root
        The collection it is below.
    uids
        The UIDs, one for each level.
    suffix
        What follows the last UID, such as ``.dcm``.

    Raises
    ------
    HeldError
        ``not-uid``: one of them is no UID.
    """
    return "/".join([root, *(checked(uid) for uid in uids)]) + suffix
