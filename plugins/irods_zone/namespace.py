"""The logical namespace: collections, renaming and trash."""

from __future__ import annotations

import re
import secrets

from .access_control import require_access
from .catalog import OWN, WRITE, split_path, timestamp
from .error_codes import ErrorCode
from .errors import IrodsError
from .session import Session


def descendant_range(path: str) -> tuple[str, str]:
    """Return bounds of the paths below a collection, for a range query that uses the index."""
    return path + "/", path + "0"  # "0" follows "/"


def create_collection(session: Session, path: str, recursive: bool) -> None:
    """Create a collection.

    Parameters
    ----------
    session : Session
        The client's connection.
    path : str
        Logical path.
    recursive : bool
        Create missing parents too, and accept a collection that exists.

    Raises
    ------
    IrodsError
        The path is taken, the parent does not exist, or the user may not write there.
    """
    with session.catalog.transaction() as db:
        if session.catalog.collection(path) is not None:
            if recursive:
                return
            raise IrodsError(ErrorCode.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, path)
        if session.catalog.replicas(path):
            raise IrodsError(ErrorCode.CAT_NAME_EXISTS_AS_DATAOBJ, path)
        parent, _ = split_path(path)
        above = session.catalog.collection(parent)
        if above is None:
            if not recursive or parent == path:
                raise IrodsError(ErrorCode.CAT_UNKNOWN_COLLECTION, parent)
            create_collection(session, parent, True)
            above = session.catalog.collection(parent)
            assert above is not None
        require_access(session, above["id"], WRITE, ErrorCode.CAT_NO_ACCESS_PERMISSION)
        session.catalog.add_collection(
            db, path, session.user_name, session.user_zone, session.user_id
        )


def is_protected(session: Session, path: str) -> bool:
    """Return whether a collection is one that the zone needs.

    Parameters
    ----------
    session : Session
        The client's connection.
    path : str
        Logical path.

    Returns
    -------
    bool
        Whether it is the root, the zone's collection, or one that holds homes or trash.
    """
    z = f"/{session.zone.name}"
    return path in ("/", z, f"{z}/home", f"{z}/trash", f"{z}/trash/home")


def is_home(session: Session, path: str) -> bool:
    """Return whether a collection is ``home`` itself or directly below it.

    Parameters
    ----------
    session : Session
        The client's connection.
    path : str
        Logical path.

    Returns
    -------
    bool
        Whether it is.
    """
    return re.fullmatch(f"/{re.escape(session.zone.name)}/home(/[^/]*)?", path) is not None


def is_trash_home(session: Session, path: str) -> bool:
    """Return whether a collection is the trash of a user.

    Parameters
    ----------
    session : Session
        The client's connection.
    path : str
        Logical path.

    Returns
    -------
    bool
        Whether it is.
    """
    return split_path(path)[0] == f"/{session.zone.name}/trash/home"


def elevate_for_trash(session: Session, path: str, keywords: dict[str, str]) -> None:
    """Disregard access levels if an administrator empties any user's trash (``irmtrash -M``).

    Parameters
    ----------
    session : Session
        The client's connection.
    path : str
        Logical path of what is removed.
    keywords : dict of str
        The request's keywords; without ``irodsAdminRmTrash`` nothing changes.

    Raises
    ------
    IrodsError
        The path is not in the trash, or the user is no administrator.
    """
    if "irodsAdminRmTrash" not in keywords:
        return
    if not path.startswith(f"/{session.zone.name}/trash/"):
        raise IrodsError(ErrorCode.SYS_INVALID_FILE_PATH, path)
    session.elevate()


def move_to_trash(session: Session, path: str) -> None:
    """Move a data object or collection to the user's trash, keeping its path below home.

    Parameters
    ----------
    session : Session
        The client's connection.
    path : str
        Logical path.

    Raises
    ------
    IrodsError
        As of `rename`.
    """
    home = f"/{session.zone.name}/trash/home/{session.home_name}"
    rest = path.removeprefix(f"/{session.zone.name}/home/{session.home_name}/").lstrip("/")
    target = f"{home}/{rest}"
    if session.catalog.collection(target) is not None or session.catalog.replicas(target):
        target += f".{secrets.randbelow(10**10)}"
    with session.catalog.transaction() as db:
        root = session.catalog.collection(home)
        if root is None:
            session.catalog.add_collection(
                db, home, session.user_name, session.user_zone, session.user_id
            )
        create_collection(session, split_path(target)[0], True)
        rename(session, path, target)


def rename(session: Session, old: str, new: str) -> None:
    """Rename a data object or collection; the files in the vaults stay where they are.

    Parameters
    ----------
    session : Session
        The client's connection.
    old, new : str
        Logical paths.

    Raises
    ------
    IrodsError
        The new path is taken or its parent does not exist, the user does not own the object, or it
        is being written.
    """
    parent, name = split_path(new)
    with session.catalog.transaction(durable=True) as db:
        if session.catalog.replicas(new):
            raise IrodsError(
                ErrorCode.CAT_NAME_EXISTS_AS_DATAOBJ
                if session.catalog.collection(old) is not None
                else ErrorCode.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME,
                new,
            )
        if session.catalog.collection(new) is not None:
            raise IrodsError(ErrorCode.CAT_NAME_EXISTS_AS_COLLECTION, new)
        above = session.catalog.collection(parent)
        if above is None:
            raise IrodsError(ErrorCode.CAT_UNKNOWN_COLLECTION, parent)
        require_access(session, above["id"], WRITE)
        coll = session.catalog.collection(old)
        if coll is None:
            rows = session.catalog.replicas(old)
            if not rows:
                raise IrodsError(ErrorCode.OBJ_PATH_DOES_NOT_EXIST, old)
            require_access(session, rows[0]["id"], OWN)
            session.zone.locks.check_at_rest(db, rows[0]["id"])
            db.execute(
                "UPDATE data SET coll_id=?, name=?, mtime=? WHERE id=?",
                (above["id"], name, timestamp(), rows[0]["id"]),
            )
            return
        if is_protected(session, old) or (new + "/").startswith(old + "/"):
            raise IrodsError(ErrorCode.CAT_NO_ACCESS_PERMISSION, old)
        require_access(session, coll["id"], OWN)
        db.execute(
            "UPDATE coll SET name=?, parent=?, mtime=? WHERE id=?",
            (new, parent, timestamp(), coll["id"]),
        )
        n = len(old) + 1
        db.execute(
            "UPDATE coll SET name=?||substr(name,?), parent=?||substr(parent,?)"
            " WHERE name>=? AND name<?", (new, n, new, n, *descendant_range(old)),
        )  # fmt: skip
