"""Resource hierarchies: where a new replica goes, and which siblings must hold one too."""

from __future__ import annotations

import random
import re
import sqlite3
from collections.abc import Collection

from .error_codes import ErrorCode
from .errors import IrodsError
from .session import Session

STORAGE = "unixfilesystem"
_REPLICATING = ("replication", "compound")  # every child holds a replica
_MINIMUM_FREE_SPACE = re.compile(r"minimum_free_space_for_create_in_bytes=(\d+)")


def leaves_for_create(session: Session, row: sqlite3.Row) -> list[sqlite3.Row]:
    """Choose the storage resources for a new data object.

    Parameters
    ----------
    session : Session
        The client's connection.
    row : sqlite3.Row
        The resource that the object is put on.

    Returns
    -------
    list of sqlite3.Row
        The storage resources; the first is written first.

    Raises
    ------
    IrodsError
        A resource is down or full, or is of a kind that stores nothing.
    """
    if row["status"] == "down":
        raise IrodsError(ErrorCode.SYS_RESC_IS_DOWN, f"{row['name']} is down")
    children = session.catalog.children(row["id"])
    if row["type"] == STORAGE:
        return [require_free_space(row)]
    if not children:
        # A coordinating resource without children, or storage that this server cannot use.
        raise IrodsError(ErrorCode.HIERARCHY_ERROR, f"{row['name']} holds no data")
    if row["type"] == "compound":
        children.sort(key=lambda c: c["parent_ctx"] != "cache")
    if row["type"] in _REPLICATING:
        return [leaf for c in children for leaf in leaves_for_create(session, c)]
    if row["type"] == "random":
        return leaves_for_create(session, random.choice(children))
    return leaves_for_create(session, children[0])


def require_free_space(row: sqlite3.Row) -> sqlite3.Row:
    """Return a storage resource; raise USER_FILE_TOO_LARGE if it has too little free space."""
    wanted = _MINIMUM_FREE_SPACE.search(row["context"])
    if wanted and row["free"].isdigit() and int(row["free"]) < int(wanted[1]):
        raise IrodsError(ErrorCode.USER_FILE_TOO_LARGE, f"{row['name']} is full")
    return row


def root_id(session: Session, resc_id: int) -> int:
    """Return the root of the hierarchy that a resource is in.

    Parameters
    ----------
    session : Session
        The client's connection.
    resc_id : int
        Id of the resource.

    Returns
    -------
    int
        Id of the root.
    """
    row = session.catalog.resources[resc_id]
    while row["parent"]:
        row = session.catalog.resources[int(row["parent"])]
    return int(row["id"])


def require_root(session: Session, name: str) -> sqlite3.Row:
    """Return the root resource that a client named; children cannot be addressed.

    Parameters
    ----------
    session : Session
        The client's connection.
    name : str
        The resource.

    Returns
    -------
    sqlite3.Row
        The resource.

    Raises
    ------
    IrodsError
        SYS_RESC_DOES_NOT_EXIST or DIRECT_CHILD_ACCESS.
    """
    row = session.catalog.resource(name)
    if row["parent"]:
        raise IrodsError(
            ErrorCode.DIRECT_CHILD_ACCESS, "children of a resource cannot be addressed"
        )
    return row


def named_resource(session: Session, keywords: dict[str, str]) -> sqlite3.Row | None:
    """Return the root resource that keywords name.

    Parameters
    ----------
    session : Session
        The client's connection.
    keywords : dict of str
        Options of a request: ``destRescName``, ``rescName`` or ``defRescName``.

    Returns
    -------
    sqlite3.Row or None
        The resource, or None if they name none.

    Raises
    ------
    IrodsError
        As of `require_root`.
    """
    name = keywords.get("destRescName") or keywords.get("rescName") or keywords.get("defRescName")
    return require_root(session, name) if name else None


def named_or_default_resource(session: Session, keywords: dict[str, str]) -> sqlite3.Row:
    """Return the root resource that keywords name, or the zone's default one.

    Parameters
    ----------
    session : Session
        The client's connection.
    keywords : dict of str
        Options of a request.

    Returns
    -------
    sqlite3.Row
        The resource.

    Raises
    ------
    IrodsError
        As of `require_root`.
    """
    named = named_resource(session, keywords)
    return require_root(session, session.zone.default_resource) if named is None else named


def target_leaf(session: Session, keywords: dict[str, str]) -> sqlite3.Row:
    """Choose the storage resource for a new replica.

    Parameters
    ----------
    session : Session
        The client's connection.
    keywords : dict of str
        Options of a request: a whole hierarchy (``resc_hier``) or a root resource.

    Returns
    -------
    sqlite3.Row
        The storage resource.

    Raises
    ------
    IrodsError
        There is no such hierarchy or resource, or it cannot take a replica now.
    """
    hierarchy = keywords.get("resc_hier")
    if not hierarchy:
        return leaves_for_create(session, named_or_default_resource(session, keywords))[0]
    leaf = session.catalog.resource(hierarchy.rpartition(";")[2])
    if session.catalog.hierarchy(leaf["id"]) != hierarchy:
        raise IrodsError(ErrorCode.HIERARCHY_ERROR, f"no hierarchy {hierarchy}")
    return leaves_for_create(session, leaf)[0]


def available_replicas(session: Session, rows: list[sqlite3.Row]) -> list[sqlite3.Row]:
    """Return the replicas on resources that are up with all their ancestors.

    Parameters
    ----------
    session : Session
        The client's connection.
    rows : list of sqlite3.Row
        Replicas.

    Returns
    -------
    list of sqlite3.Row
        At least one of them.

    Raises
    ------
    IrodsError
        SYS_RESC_IS_DOWN: there is none.
    """
    found = [r for r in rows if not _is_down(session, r["resc_id"])]
    if not found:
        raise IrodsError(ErrorCode.SYS_RESC_IS_DOWN, "every replica is on a resource that is down")
    return found


def _is_down(session: Session, resc_id: int) -> bool:
    row = session.catalog.resources[resc_id]
    return row["status"] == "down" or bool(row["parent"] and _is_down(session, int(row["parent"])))


def replicating_siblings(
    session: Session, leaf_id: int, held: Collection[int]
) -> list[sqlite3.Row]:
    """Return the other storage resources that must hold what this one holds.

    Below every replicating ancestor each branch needs a replica; one that is there already stays
    where it is.

    Parameters
    ----------
    session : Session
        The client's connection.
    leaf_id : int
        Id of a storage resource with a replica.
    held : collection of int
        Ids of all resources with a replica of the same data object.

    Returns
    -------
    list of sqlite3.Row
        The storage resources.
    """
    found: list[sqlite3.Row] = []
    node = session.catalog.resources[leaf_id]
    while node["parent"]:
        parent = session.catalog.resources[int(node["parent"])]
        if parent["type"] in _REPLICATING:
            for child in session.catalog.children(parent["id"]):
                if child["id"] != node["id"]:
                    within = [i for i in held if _is_below(session, i, child["id"])]
                    here = [session.catalog.resources[i] for i in within]
                    found += here or leaves_for_create(session, child)
        node = parent
    return found


def _is_below(session: Session, resc_id: int, ancestor: int) -> bool:
    row = session.catalog.resources[resc_id]
    while row["id"] != ancestor and row["parent"]:
        row = session.catalog.resources[int(row["parent"])]
    return bool(row["id"] == ancestor)
