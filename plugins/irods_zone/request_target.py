"""Which zone and which open descriptor a request is about."""

from __future__ import annotations

import re

from .api_messages import Request
from .api_numbers import Api
from .genquery_columns import COLL_NAME, COLL_PARENT_NAME
from .xml_structures import Node

WITH_JSON_DESCRIPTOR = (Api.GET_FILE_DESCRIPTOR_INFO_APN, Api.REPLICA_CLOSE_APN)
_WITH_JSON_PATH = (
    Api.ATOMIC_APPLY_METADATA_OPERATIONS_APN, Api.ATOMIC_APPLY_ACL_OPERATIONS_APN, Api.TOUCH_APN,
)  # fmt: skip
_WITH_TWO_PATHS = (Api.DATA_OBJ_RENAME_AN, Api.DATA_OBJ_COPY_AN)
_ZONE_OF_PATH = re.compile(r"/([^/']+)")


def path_zone(path: str) -> str:
    """Return the zone that a logical path begins with; empty if it names none."""
    found = _ZONE_OF_PATH.match(path)
    return found[1] if found else ""


def target_descriptor(request: Request) -> int | None:
    """Return the descriptor that a request is about, or None."""
    if request.api in WITH_JSON_DESCRIPTOR:
        number = request.json().get("fd")
        return number if isinstance(number, int) else None
    if request.api == Api.OPR_COMPLETE_AN:
        return request.node.number("myInt")
    if any(c.tag == "l1descInx" for c in request.node.children):
        return request.node.number("l1descInx")
    return None


def source_and_destination(request: Request) -> list[str]:
    """Return both paths of a copy or renaming; of other requests none."""
    if request.api not in _WITH_TWO_PATHS:
        return []
    return [n.get("objPath") for n in request.node.children if n.tag == "DataObjInp_PI"]


def target_zone(request: Request) -> str:
    """Return the zone that a request is about by its paths; empty if it names none."""
    node = request.node
    if request.api in (Api.GEN_QUERY_AN, Api.SPECIFIC_QUERY_AN):
        return _query_zone(node)
    if request.api == Api.GENQUERY2_AN:
        return node.get("zone")
    if request.api in _WITH_JSON_PATH:
        data = request.json()
        path = str(data.get("entity_name") or data.get("logical_path") or "")
    elif request.api == Api.MOD_AVU_METADATA_AN:
        path = node.get("arg3") if node.get("arg0") == "cp" else node.get("arg2")
    elif request.api in _WITH_TWO_PATHS:
        path = next(iter(source_and_destination(request)), "")
    elif request.api in (Api.MOD_DATA_OBJ_META_AN, Api.DATA_OBJECT_MODIFY_INFO_APN):
        path = node.child("DataObjInfo_PI").get("objPath")
    elif request.api == Api.TICKET_ADMIN_AN:
        path = node.get("arg4")
    else:
        path = node.get("objPath") or node.get("collName") or node.get("path")
    return path_zone(path)


def _query_zone(node: Node) -> str:
    named = node.keywords().get("zone", "")
    if named:
        return path_zone(named) if named.startswith("/") else named
    where = node.child("InxValPair_PI")
    for inx, text in zip(where.all("inx"), where.all("svalue"), strict=False):
        if inx.strip() in (str(COLL_NAME), str(COLL_PARENT_NAME)):
            found = re.search(r"'/([^/'%]+)/?", text)
            if found:
                return found[1]
    return ""
