"""Synchronisation, as irsync asks for it."""

from __future__ import annotations

from ..access_control import require_access
from ..api_messages import Reply, Request
from ..api_numbers import Api
from ..api_registry import handles
from ..catalog import READ, canonical_path
from ..error_codes import ErrorCode
from ..errors import IrodsError
from ..forwarding import dispatch, dispatch_or_raise
from ..replica_access import require_replicas
from ..session import Session
from ..xml_structures import Node, data_object_input, parse

# SYS_RSYNC_TARGET_MODIFIED, SYS_SVR_TO_CLI_PUT_ACTION and _GET_ACTION: what was done, or what the
# client is to do.
MODIFIED, PUT, GET = 99999992, 99999990, 99999991
# The client means the opposite of what the modes say.
_MODES = {"LOCAL_TO_IRODS": GET, "IRODS_TO_LOCAL": PUT}


@handles(Api.DATA_OBJ_RSYNC_AN)
def _data_obj_rsync(session: Session, request: Request) -> Reply:
    """Compare a file's checksum with a data object's, or copy one data object to another."""
    keywords = request.node.keywords()
    mode = keywords.get("rsyncMode", "")
    if mode == "IRODS_TO_IRODS":
        return _between_objects(session, request, keywords)
    if mode not in _MODES:
        raise IrodsError(ErrorCode.USER_RSYNC_NO_MODE_INPUT_ERR, mode)
    if not keywords.get("rsyncChksum"):
        raise IrodsError(ErrorCode.CHKSUM_EMPTY_IN_STRUCT_ERR, "no checksum of the file")
    path = canonical_path(request.node.get("objPath"))
    require_access(
        session,
        require_replicas(session, path, READ, ErrorCode.OBJ_PATH_DOES_NOT_EXIST)[0]["id"],
        READ,
    )
    return Reply(0 if _checksum(session, path) == keywords["rsyncChksum"] else _MODES[mode])


def _between_objects(session: Session, request: Request, keywords: dict[str, str]) -> Reply:
    source, target = request.node.get("objPath"), keywords.get("rsyncDestPath", "")
    if not target:
        raise IrodsError(ErrorCode.USER_RSYNC_NO_MODE_INPUT_ERR, "no destination")
    wanted = _checksum(session, source)
    if _exists(session, target) and _checksum(session, target) == wanted:
        return Reply()
    options = {k: v for k, v in keywords.items() if not k.startswith("rsync")}
    options |= {"forceFlag": "", "regChksum": ""}
    paths = [data_object_input(source, {}), data_object_input(target, options)]
    dispatch_or_raise(session, Api.DATA_OBJ_COPY_AN, Node("DataObjCopyInp_PI", "", paths))
    return Reply(MODIFIED)


def _checksum(session: Session, path: str) -> str:
    """Return an object's checksum, in whichever zone it is; it is registered if it had none."""
    reply = dispatch_or_raise(session, Api.DATA_OBJ_CHKSUM_AN, data_object_input(path, {}))
    return parse(reply.body).get("myStr")


def _exists(session: Session, path: str) -> bool:
    try:
        return dispatch(session, Api.OBJ_STAT_AN, data_object_input(path, {})).status == 1
    except IrodsError:
        return False
