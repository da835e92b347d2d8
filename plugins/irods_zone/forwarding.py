"""Requests about another zone: passed on to its server, or copied from zone to zone."""

from __future__ import annotations

import os
import re

from .api_messages import Reply, Request, json_body, read_json
from .api_numbers import Api
from .api_registry import HANDLERS
from .error_codes import ErrorCode
from .errors import IrodsError
from .framing import Message
from .request_target import (
    WITH_JSON_DESCRIPTOR,
    path_zone,
    source_and_destination,
    target_descriptor,
    target_zone,
)
from .session import Session
from .xml_structures import Node, data_object_input, key_value_pairs, pack, parse

_BLOCK = 4 << 20
_OPENING = (Api.DATA_OBJ_CREATE_AN, Api.DATA_OBJ_OPEN_AN, Api.REPLICA_OPEN_APN)
_CLOSING = (Api.OPR_COMPLETE_AN, Api.DATA_OBJ_CLOSE_AN, Api.REPLICA_CLOSE_APN)
_TRANSFERS = (Api.DATA_OBJ_PUT_AN, Api.DATA_OBJ_GET_AN)


def dispatch(session: Session, api: Api, node: Node, byte_stream: bytes = b"") -> Reply:
    """Make a request on the client's behalf, in whichever zone it is about.

    Parameters
    ----------
    session : Session
        The client's connection.
    api : Api
        What is asked for.
    node : Node
        The input structure.
    byte_stream : bytes
        File content to write.

    Returns
    -------
    Reply
        The reply, possibly with the status of an error.

    Raises
    ------
    IrodsError
        The zone does not answer, or this zone refuses.
    """
    request = Request(api, node, byte_stream, node.xml())
    reply = forward(session, request) if session.zone.partners else None
    return HANDLERS[api](session, request) if reply is None else reply


def dispatch_or_raise(session: Session, api: Api, node: Node, byte_stream: bytes = b"") -> Reply:
    """Make a request like `dispatch`, and raise if its reply has the status of an error.

    Parameters
    ----------
    session, api, node, byte_stream
        As of `dispatch`.

    Returns
    -------
    Reply
        A successful reply.

    Raises
    ------
    IrodsError
        The request failed.
    """
    reply = dispatch(session, api, node, byte_stream)
    if reply.status < 0:
        raise IrodsError(reply.status, f"{api.name} on the client's behalf")
    return reply


def forward(session: Session, request: Request) -> Reply | None:
    """Pass a request on to the zone that it is about.

    Parameters
    ----------
    session : Session
        The client's connection.
    request : Request
        The request.

    Returns
    -------
    Reply or None
        The partner's reply, or None if the request is about this zone.

    Raises
    ------
    IrodsError
        CROSS_ZONE_SOCK_CONNECT_ERR if the partner does not answer;
        SYS_CROSS_ZONE_MV_NOT_SUPPORTED for renaming across zones.
    """
    descriptor = target_descriptor(request)
    if descriptor is not None:
        if descriptor in session.partners.descriptors:
            return _use_descriptor(session, request, descriptor)
        return None
    if request.api == Api.DATA_OBJ_RSYNC_AN and _is_between_objects(request):
        return None  # its handler makes a comparison and a copy, each possibly about a partner
    zones = [_partner(session, path_zone(path)) for path in source_and_destination(request)]
    if len(set(zones)) > 1:
        if request.api == Api.DATA_OBJ_RENAME_AN:
            raise IrodsError(
                ErrorCode.SYS_CROSS_ZONE_MV_NOT_SUPPORTED, "objects do not move across zones"
            )
        return _copy(session, request)
    zone = _partner(session, target_zone(request))
    if not zone:
        return None
    reply = _ask(session, zone, request.api, request.raw, request.byte_stream)
    if request.api == Api.RM_COLL_AN:
        reply.body = b""  # the real server does not pass on how many objects were removed
    if request.api in _OPENING and reply.status > 2:
        reply.status = _note_descriptor(session, zone, reply.status)
        if request.api == Api.REPLICA_OPEN_APN:
            reply.body = _with_descriptor(reply.body, reply.status)
    if request.api in _TRANSFERS and not reply.byte_stream and reply.status > 2:
        remote, reply.status = reply.status, _note_descriptor(session, zone, reply.status)
        reply.body = reply.body.replace(
            b"<l1descInx>%d<" % remote, b"<l1descInx>%d<" % reply.status
        )
    return reply


def _is_between_objects(request: Request) -> bool:
    return request.node.keywords().get("rsyncMode") == "IRODS_TO_IRODS"


def _partner(session: Session, zone: str) -> str:
    """Return the zone if it is a partner, otherwise nothing."""
    return zone if zone != session.zone.name and zone in session.zone.partners else ""


def _ask(
    session: Session, zone: str, api: int, body: bytes, byte_stream: bytes | bytearray
) -> Reply:
    message = Message("RODS_API_REQ", api, body, b"", byte_stream)
    user = (session.user_name, session.user_zone)
    answer = session.partners.ask(zone, user, session.ticket, message)
    return Reply(answer.int_info, answer.body, answer.byte_stream, answer.error)


def _note_descriptor(session: Session, zone: str, remote: int) -> int:
    local = session.free_descriptor()
    session.partners.descriptors[local] = (zone, remote)
    return local


def _use_descriptor(session: Session, request: Request, local: int) -> Reply:
    """Pass on a request about a descriptor that is open in a partner zone."""
    zone, remote = session.partners.descriptors[local]
    if request.api in WITH_JSON_DESCRIPTOR:
        body = json_body(request.json() | {"fd": remote})
    elif request.api == Api.OPR_COMPLETE_AN:
        body = pack("INT_PI", myInt=remote)
    else:
        new = b"<l1descInx>%d<" % remote
        body = re.sub(rb"<l1descInx>\s*\d+\s*<", new, request.raw, count=1)
    reply = _ask(session, zone, request.api, body, request.byte_stream)
    if request.api == Api.GET_FILE_DESCRIPTOR_INFO_APN and reply.status >= 0:
        reply.body = _with_descriptor(reply.body, local)
    if request.api in _CLOSING:
        del session.partners.descriptors[local]
    return reply


def _with_descriptor(body: bytes, number: int) -> bytes:
    """Replace the descriptor in what a partner tells about an open replica."""
    return json_body(read_json(parse(body)) | {"fd": number})


def _copy(session: Session, request: Request) -> Reply:
    """Read in one zone, write in the other; a copy that fails half way is removed."""
    source, target = (n for n in request.node.children if n.tag == "DataObjInp_PI")
    keywords, path = target.keywords(), target.get("objPath")
    found = _try(session, Api.OBJ_STAT_AN, data_object_input(path, {}))
    if found.status == 1 and "forceFlag" not in keywords:
        raise IrodsError(ErrorCode.OVERWRITE_WITHOUT_FORCE_FLAG, path)
    source_path = source.get("objPath")
    stat = dispatch_or_raise(session, Api.OBJ_STAT_AN, data_object_input(source_path, {}))
    checksum = parse(stat.body).get("chksum")
    node = data_object_input(source_path, source.keywords())
    reading = dispatch_or_raise(session, Api.DATA_OBJ_OPEN_AN, node).status
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        options = keywords | ({"verifyChksum": checksum} if checksum else {})
        node = data_object_input(path, options, flags)
        writing = dispatch_or_raise(session, Api.DATA_OBJ_OPEN_AN, node).status
        try:
            size = _stream(session, reading, writing)
            dispatch_or_raise(session, Api.DATA_OBJ_CLOSE_AN, _opened(writing))
        except BaseException:
            _try(session, Api.DATA_OBJ_CLOSE_AN, _opened(writing))
            _try(session, Api.DATA_OBJ_UNLINK_AN, data_object_input(path, {"forceFlag": ""}))
            raise
    finally:
        _try(session, Api.DATA_OBJ_CLOSE_AN, _opened(reading))
    return Reply(0, pack("TransferStat_PI", numThreads=0, flags=0, bytesWritten=size))


def _stream(session: Session, reading: int, writing: int) -> int:
    done = 0
    while True:
        node = _opened(reading, _BLOCK)
        block = bytes(dispatch_or_raise(session, Api.DATA_OBJ_READ_AN, node).byte_stream)
        if not block:
            return done
        node = _opened(writing, len(block))
        dispatch_or_raise(session, Api.DATA_OBJ_WRITE_AN, node, block)
        done += len(block)


def _try(session: Session, api: Api, node: Node) -> Reply:
    """Make a request that may fail; the status of its reply tells."""
    try:
        return dispatch(session, api, node)
    except IrodsError as e:
        return Reply(e.code)


def _opened(number: int, size: int = 0) -> Node:
    fields = {"l1descInx": number, "len": size, "whence": 0, "oprType": 0, "offset": 0,
              "bytesWritten": 0}  # fmt: skip
    plain = [Node(k, str(v)) for k, v in fields.items()]
    return Node("OpenedDataObjInp_PI", "", [*plain, key_value_pairs({})])
