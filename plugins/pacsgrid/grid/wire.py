"""Requests of the iRODS protocol that python-irodsclient has no call for.

Each is one round trip. Packing instructions: iRODS `lib/api/include/irods/*.h`.
"""

from __future__ import annotations

from collections.abc import Mapping

import irods.keywords as kw
from irods.api_number import api_number
from irods.message import (
    FileOpenRequest,
    IntegerProperty,
    LongProperty,
    Message,
    StringProperty,
    StringStringMap,
    SubmessageProperty,
    iRODSMessage,
)

from pacsgrid.grid.zone import Zone

# The largest object that goes in one message; the C++ client draws its line there too.
SINGLE_BUFFER = 32 << 20


class _HostAddr(Message):  # type: ignore[misc]
    _name = "RHostAddr_PI"
    hostAddr = StringProperty()
    rodsZone = StringProperty()
    port = IntegerProperty()
    dummyInt = IntegerProperty()


class _FileChksum(Message):  # type: ignore[misc]
    _name = "fileChksumInp_PI"
    RHostAddr_PI = SubmessageProperty(_HostAddr)
    fileName = StringProperty()
    rescHier = StringProperty()
    objPath = StringProperty()
    flags = IntegerProperty()
    in_pdmo = StringProperty()
    orig_chksum = StringProperty()
    dataSize = LongProperty()
    KeyValPair_PI = SubmessageProperty(StringStringMap)


class _FileChksumOut(Message):  # type: ignore[misc]
    _name = "fileChksumOut_PI"
    chksumStr = StringProperty()


class _ExtractAndRegister(Message):  # type: ignore[misc]
    _name = "StructFileExtAndRegInp_PI"
    objPath = StringProperty()
    collection = StringProperty()
    oprType = IntegerProperty()
    flags = IntegerProperty()
    KeyValPair_PI = SubmessageProperty(StringStringMap)


def _ask(zone: Zone, api: str, body: Message, data: bytes = b"") -> iRODSMessage:
    message = iRODSMessage("RODS_API_REQ", msg=body, int_info=api_number[api], bs=data)
    with zone.session.pool.get_connection() as connection:
        connection.send(message)
        return connection.recv()


def _object(path: str, size: int, options: Mapping[str, str]) -> FileOpenRequest:
    return FileOpenRequest(
        objPath=path,
        createMode=0o600,
        openFlags=0,
        offset=0,
        dataSize=size,
        numThreads=-1,
        oprType=0,
        KeyValPair_PI=StringStringMap(dict(options)),
    )


def put_buffer(
    zone: Zone, path: str, data: bytes, checksum: str, data_type: str = "generic"
) -> None:
    """Put a new object whole; the server compares and registers the checksum we computed.

    A differing checksum makes the server refuse (USER_CHKSUM_MISMATCH), but the object may stand
    then: put under a name that readers do not look for.
    """
    options = {
        kw.DEST_RESC_NAME_KW: zone.settings.resource,
        kw.DATA_INCLUDED_KW: "",
        kw.DATA_SIZE_KW: str(len(data)),
        kw.DATA_TYPE_KW: data_type,
        kw.VERIFY_CHKSUM_KW: checksum,
    }
    _ask(zone, "DATA_OBJ_PUT_AN", _object(path, len(data), options), data)


def get_buffer(zone: Zone, path: str, size: int, replica: int | None = None) -> bytes:
    """Return an object's bytes, of one replica if asked; for up to SINGLE_BUFFER bytes."""
    options = {} if replica is None else {kw.REPL_NUM_KW: str(replica)}
    return bytes(_ask(zone, "DATA_OBJ_GET_AN", _object(path, size, options)).bs or b"")


def unpack(zone: Zone, tar: str, collection: str) -> None:
    """Let the server unpack a tar object into a collection, as ``ibun -x`` does.

    The objects stand on the tar's resource, one replica each and without a checksum.
    """
    body = _ExtractAndRegister(
        objPath=tar,
        collection=collection,
        oprType=0,
        flags=0,
        KeyValPair_PI=StringStringMap({}),
    )
    _ask(zone, "STRUCT_FILE_EXT_AND_REG_AN", body)


def stored_checksum(zone: Zone, path: str, hierarchy: str, file: str, size: int) -> str:
    """Return the checksum of a replica's file, read from storage; the catalog is not asked.

    The server allows this to administrators alone.
    """
    body = _FileChksum(
        RHostAddr_PI=_HostAddr(
            hostAddr="", rodsZone=zone.settings.name, port=zone.settings.port, dummyInt=0
        ),
        fileName=file,
        rescHier=hierarchy,
        objPath=path,
        flags=0,
        in_pdmo="",
        orig_chksum="sha2:",
        dataSize=size,
        KeyValPair_PI=StringStringMap({}),
    )
    answer = _ask(zone, "FILE_CHKSUM_AN", body).get_main_message(_FileChksumOut)
    return str(answer.chksumStr)
