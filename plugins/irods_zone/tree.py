"""Resource trees: where a new replica goes, and what its relatives are."""

from __future__ import annotations

import random
import re
from collections.abc import Collection
from typing import Any

from . import codes
from .session import Session
from .wire import IrodsError

STORAGE = "unixfilesystem"
_COPIES = ("replication", "compound")  # trees in which every child holds a replica
_ROOM = re.compile(r"minimum_free_space_for_create_in_bytes=(\d+)")


def leaves(s: Session, row: Any) -> list[Any]:
    """Leaf resources that a new object on this resource goes to; the first is written first."""
    if row["status"] == "down":
        raise IrodsError(codes.SYS_RESC_IS_DOWN, f"{row['name']} is down")
    children = s.cat.children(row["id"])
    if row["type"] == STORAGE:
        return [with_room(row)]
    if not children:
        # A tree without leaves, or storage of a kind that this server has no driver for.
        raise IrodsError(codes.HIERARCHY_ERROR, f"{row['name']} holds no data")
    if row["type"] == "compound":
        children.sort(key=lambda c: c["parent_ctx"] != "cache")
    if row["type"] in _COPIES:
        return [leaf for c in children for leaf in leaves(s, c)]
    if row["type"] == "random":
        return leaves(s, random.choice(children))
    return leaves(s, children[0])


def with_room(row: Any) -> Any:
    """A storage resource, unless its administrator noted too little free space on it."""
    wanted = _ROOM.search(row["context"])
    if wanted and row["free"].isdigit() and int(row["free"]) < int(wanted[1]):
        raise IrodsError(codes.USER_FILE_TOO_LARGE, f"{row['name']} is full")
    return row


def root_of(s: Session, resc_id: int) -> int:
    """The root of the tree a resource is in."""
    row = s.cat.resources[resc_id]
    while row["parent"]:
        row = s.cat.resources[int(row["parent"])]
    return int(row["id"])


def named_root(s: Session, name: str) -> Any:
    """The root resource a client named; children cannot be addressed."""
    row = s.cat.resource(name)
    if row["parent"]:
        raise IrodsError(codes.DIRECT_CHILD_ACCESS, "child resource")
    return row


def chosen(s: Session, kw: dict[str, str], default: bool = True) -> Any:
    """The resource that keywords name, or the default one."""
    name = kw.get("destRescName") or kw.get("rescName") or kw.get("defRescName")
    if not name and default:
        name = s.server.default_resource
    return named_root(s, name) if name else None


def target(s: Session, kw: dict[str, str]) -> Any:
    """The leaf that a new replica goes to: a whole hierarchy by name, or a root's choice."""
    hierarchy = kw.get("resc_hier")
    if not hierarchy:
        return leaves(s, chosen(s, kw))[0]
    leaf = s.cat.resource(hierarchy.rpartition(";")[2])
    if s.cat.hier(leaf["id"]) != hierarchy:
        raise IrodsError(codes.HIERARCHY_ERROR, f"no hierarchy {hierarchy}")
    return leaves(s, leaf)[0]


def available(s: Session, rows: list[Any]) -> list[Any]:
    """The replicas on resources that are up, they and all above them; there must be one."""
    found = [r for r in rows if not _is_down(s, r["resc_id"])]
    if not found:
        raise IrodsError(codes.SYS_RESC_IS_DOWN, "every replica is on a resource that is down")
    return found


def _is_down(s: Session, resc_id: int) -> bool:
    row = s.cat.resources[resc_id]
    return row["status"] == "down" or bool(row["parent"] and _is_down(s, int(row["parent"])))


def companions(s: Session, leaf_id: int, held: Collection[int]) -> list[Any]:
    """The other leaves that must hold what this leaf holds.

    Below each replicating ancestor every branch has one; where a branch holds a replica already
    (``held`` are the resource ids of all of them), it stays there.
    """
    found: list[Any] = []
    node = s.cat.resources[leaf_id]
    while node["parent"]:
        parent = s.cat.resources[int(node["parent"])]
        for child in s.cat.children(parent["id"]) if parent["type"] in _COPIES else ():
            if child["id"] != node["id"]:
                here = [s.cat.resources[i] for i in held if _below(s, i, child["id"])]
                found += here or leaves(s, child)
        node = parent
    return found


def _below(s: Session, resc_id: int, ancestor: int) -> bool:
    row = s.cat.resources[resc_id]
    while row["id"] != ancestor and row["parent"]:
        row = s.cat.resources[int(row["parent"])]
    return bool(row["id"] == ancestor)
