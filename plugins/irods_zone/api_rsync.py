"""Synchronisation as irsync asks for it, where what the client knows does not decide."""

from __future__ import annotations

from . import codes
from .catalog import READ, clean
from .objects import need
from .opening import existing
from .request import HANDLERS, Reply, Request, api
from .session import Session
from .wire import IrodsError, Node, parse

GET, PUT, MODIFIED = 99999991, 99999990, 99999992  # what the client is to do, or was done
# The client's names: where the mode says "local to iRODS" it wants the object in its file.
_MODES = {"LOCAL_TO_IRODS": GET, "IRODS_TO_LOCAL": PUT}


@api(628)
def data_rsync(s: Session, r: Request) -> Reply:
    """Compare a file's checksum with an object's, or bring one object's bytes to another."""
    kw = r.node.keywords()
    mode = kw.get("rsyncMode", "")
    if mode == "IRODS_TO_IRODS":
        return _between_objects(s, r, kw)
    if mode not in _MODES:
        raise IrodsError(codes.USER_RSYNC_NO_MODE_INPUT_ERR, mode)
    if not kw.get("rsyncChksum"):
        raise IrodsError(codes.CHKSUM_EMPTY_IN_STRUCT_ERR, "no checksum of the file")
    path = clean(r.node.get("objPath"))
    need(s, existing(s, path, READ, codes.OBJ_PATH_DOES_NOT_EXIST)[0]["id"], READ)
    return Reply(0 if _checksum(s, path) == kw["rsyncChksum"] else _MODES[mode])


def _between_objects(s: Session, r: Request, kw: dict[str, str]) -> Reply:
    source, target = r.node.get("objPath"), kw.get("rsyncDestPath", "")
    if not target:
        raise IrodsError(codes.USER_RSYNC_NO_MODE_INPUT_ERR, "no destination")
    wanted = _checksum(s, source)
    if _exists(s, target) and _checksum(s, target) == wanted:
        return Reply()
    options = {k: v for k, v in kw.items() if not k.startswith("rsync")}
    options |= {"forceFlag": "", "regChksum": ""}
    copy = Node("DataObjCopyInp_PI", "", [_object(source, {}), _object(target, options)])
    _ask(s, 696, copy)
    return Reply(MODIFIED)


def _object(path: str, keywords: dict[str, str]) -> Node:
    pairs = Node("KeyValPair_PI")
    pairs.children += [Node("keyWord", k) for k in keywords]
    pairs.children += [Node("svalue", v) for v in keywords.values()]
    fields = {"objPath": path, "createMode": "384", "dataSize": "-1"}
    return Node("DataObjInp_PI", "", [*(Node(k, v) for k, v in fields.items()), pairs])


def _checksum(s: Session, path: str) -> str:
    """An object's checksum, in whichever zone it is; registered if it had none."""
    return parse(_ask(s, 629, _object(path, {})).body).get("myStr")


def _exists(s: Session, path: str) -> bool:
    try:
        return _ask(s, 633, _object(path, {})).status == 1
    except IrodsError:
        return False


def _ask(s: Session, number: int, node: Node) -> Reply:
    """Another request of this client's, to the zone that it is about."""
    request = Request(number, node, b"", node.xml())
    reply = s.partners.forward(request) if s.server.federate else None
    reply = HANDLERS[number](s, request) if reply is None else reply
    if reply.status < 0:
        raise IrodsError(reply.status, f"API {number}")
    return reply
