"""Resource trees: where a new replica goes, and what its relatives are."""

from __future__ import annotations

import random
import re
from collections.abc import Collection
from typing import Any

from .error_codes import ErrorCode
from .errors import IrodsError
from .session import Session

STORAGE = "unixfilesystem"
_REPLICATING = ("replication", "compound")  # trees in which every child holds a replica
_MINIMUM_FREE_SPACE = re.compile(r"minimum_free_space_for_create_in_bytes=(\d+)")


def leaves_for_create(session: Session, row: Any) -> list[Any]:
    """Leaf resources that a new object on this resource goes to; the first is written first."""
    if row["status"] == "down":
        raise IrodsError(ErrorCode.SYS_RESC_IS_DOWN, f"{row['name']} is down")
    children = session.catalog.children(row["id"])
    if row["type"] == STORAGE:
        return [require_free_space(row)]
    if not children:
        # A tree without leaves, or storage of a kind that this server has no driver for.
        raise IrodsError(ErrorCode.HIERARCHY_ERROR, f"{row['name']} holds no data")
    if row["type"] == "compound":
        children.sort(key=lambda c: c["parent_ctx"] != "cache")
    if row["type"] in _REPLICATING:
        return [leaf for c in children for leaf in leaves_for_create(session, c)]
    if row["type"] == "random":
        return leaves_for_create(session, random.choice(children))
    return leaves_for_create(session, children[0])


def require_free_space(row: Any) -> Any:
    """A storage resource, unless its administrator noted too little free space on it."""
    wanted = _MINIMUM_FREE_SPACE.search(row["context"])
    if wanted and row["free"].isdigit() and int(row["free"]) < int(wanted[1]):
        raise IrodsError(ErrorCode.USER_FILE_TOO_LARGE, f"{row['name']} is full")
    return row


def root_id(session: Session, resc_id: int) -> int:
    """The root of the tree a resource is in."""
    row = session.catalog.resources[resc_id]
    while row["parent"]:
        row = session.catalog.resources[int(row["parent"])]
    return int(row["id"])


def require_root(session: Session, name: str) -> Any:
    """The root resource a client named; children cannot be addressed."""
    row = session.catalog.resource(name)
    if row["parent"]:
        raise IrodsError(ErrorCode.DIRECT_CHILD_ACCESS, "child resource")
    return row


def named_resource(session: Session, keywords: dict[str, str], default: bool = True) -> Any:
    """The resource that keywords name, or the default one."""
    name = keywords.get("destRescName") or keywords.get("rescName") or keywords.get("defRescName")
    if not name and default:
        name = session.zone.default_resource
    return require_root(session, name) if name else None


def target_leaf(session: Session, keywords: dict[str, str]) -> Any:
    """The leaf that a new replica goes to: a whole hierarchy by name, or a root's choice."""
    hierarchy = keywords.get("resc_hier")
    if not hierarchy:
        return leaves_for_create(session, named_resource(session, keywords))[0]
    leaf = session.catalog.resource(hierarchy.rpartition(";")[2])
    if session.catalog.hierarchy(leaf["id"]) != hierarchy:
        raise IrodsError(ErrorCode.HIERARCHY_ERROR, f"no hierarchy {hierarchy}")
    return leaves_for_create(session, leaf)[0]


def available_replicas(session: Session, rows: list[Any]) -> list[Any]:
    """The replicas on resources that are up, they and all above them; there must be one."""
    found = [r for r in rows if not _is_down(session, r["resc_id"])]
    if not found:
        raise IrodsError(ErrorCode.SYS_RESC_IS_DOWN, "every replica is on a resource that is down")
    return found


def _is_down(session: Session, resc_id: int) -> bool:
    row = session.catalog.resources[resc_id]
    return row["status"] == "down" or bool(row["parent"] and _is_down(session, int(row["parent"])))


def replicating_siblings(session: Session, leaf_id: int, held: Collection[int]) -> list[Any]:
    """The other leaves that must hold what this leaf holds.

    Below each replicating ancestor every branch has one; where a branch holds a replica already
    (``held`` are the resource ids of all of them), it stays there.
    """
    found: list[Any] = []
    node = session.catalog.resources[leaf_id]
    while node["parent"]:
        parent = session.catalog.resources[int(node["parent"])]
        for child in (
            session.catalog.children(parent["id"]) if parent["type"] in _REPLICATING else ()
        ):
            if child["id"] != node["id"]:
                here = [
                    session.catalog.resources[i] for i in held if _is_below(session, i, child["id"])
                ]
                found += here or leaves_for_create(session, child)
        node = parent
    return found


def _is_below(session: Session, resc_id: int, ancestor: int) -> bool:
    row = session.catalog.resources[resc_id]
    while row["id"] != ancestor and row["parent"]:
        row = session.catalog.resources[int(row["parent"])]
    return bool(row["id"] == ancestor)
