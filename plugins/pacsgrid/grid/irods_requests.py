"""Requests of the iRODS protocol that python-irodsclient has no call for.

The messages follow the packing instructions in iRODS, `lib/api/include/irods/*.h`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import irods.keywords as kw
from irods.api_number import api_number
from irods.connection import Connection
from irods.exception import NetworkException
from irods.message import (
    FileOpenRequest,
    IntegerProperty,
    LongProperty,
    Message,
    OpenedDataObjRequest,
    StringProperty,
    StringStringMap,
    SubmessageProperty,
    iRODSMessage,
)

from pacsgrid.grid.zone import Zone

# Bytes of the largest object that goes in one message; the limit of the C++ client too.
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


def _request(api: str, body: Message, data: bytes = b"") -> iRODSMessage:
    return iRODSMessage("RODS_API_REQ", msg=body, int_info=api_number[api], bs=data)


def _send_and_receive(zone: Zone, api: str, body: Message) -> iRODSMessage:
    with zone.session.pool.get_connection() as connection:
        connection.send(_request(api, body))
        return connection.recv()


def _pipeline(connection: Connection, *requests: iRODSMessage) -> list[iRODSMessage]:
    """Send requests without waiting in between, and return their replies in the same order.

    The server answers each request, whether or not the one before failed. The first error is
    raised once all replies are read.
    """
    replies: list[iRODSMessage] = []
    error: Exception | None = None
    try:
        for request in requests:
            connection.send(request)
        for _ in requests:
            try:
                replies.append(connection.recv())
            except NetworkException:
                raise
            except Exception as refused:
                error = error or refused
    except BaseException:
        # An unread reply would be taken for that of the next request: drop the connection.
        connection.release(True)
        raise
    if error is not None:
        raise error
    return replies


def _open(connection: Connection, path: str, flags: int, options: Mapping[str, str]) -> int:
    """Open a data object and return its descriptor."""
    body = FileOpenRequest(
        objPath=path,
        createMode=0o600,
        openFlags=flags,
        offset=0,
        dataSize=-1,
        numThreads=1,
        oprType=0,
        KeyValPair_PI=StringStringMap(dict(options)),
    )
    connection.send(_request("DATA_OBJ_OPEN_AN", body))
    return int(connection.recv().int_info)


def _descriptor_request(
    api: str, descriptor: int, data: bytes = b"", length: int = 0
) -> iRODSMessage:
    """Return a request to write to, read from or close an open data object."""
    body = OpenedDataObjRequest(
        l1descInx=descriptor,
        len=length or len(data),
        whence=0,
        oprType=0,
        offset=0,
        bytesWritten=0,
        KeyValPair_PI=StringStringMap(),
    )
    return _request(api, body, data)


def put_buffer(
    zone: Zone, path: str, data: bytes, checksum: str, data_type: str = "generic"
) -> None:
    """Put a new object; the server compares our checksum with its own and registers it.

    This takes two round trips. A put in one message is slower on iRODS 5.0.2, which spells out
    every byte of such a message for its policies (`serialize_bytesBuf_ptr`): 80 ms a megabyte.
    Errors of python-irodsclient are not translated.

    Parameters
    ----------
    zone
        The zone.
    path
        The data object; it must not exist. When the checksums differ, the server refuses with
        USER_CHKSUM_MISMATCH but may leave the object, so give a name that readers ignore.
    data
        The whole content, at most SINGLE_BUFFER bytes.
    checksum
        Its checksum as iRODS writes it.
    data_type
        iRODS's name of the data type.
    """
    options = {
        kw.DEST_RESC_NAME_KW: zone.settings.resource,
        kw.DATA_TYPE_KW: data_type,
        kw.VERIFY_CHKSUM_KW: checksum,
    }
    with zone.session.pool.get_connection() as connection:
        descriptor = _open(connection, path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, options)
        write = [_descriptor_request("DATA_OBJ_WRITE_AN", descriptor, data)] if data else []
        _pipeline(connection, *write, _descriptor_request("DATA_OBJ_CLOSE_AN", descriptor))


def get_buffer(zone: Zone, path: str, size: int, replica: int | None = None) -> bytes:
    """Return an object's bytes.

    This takes two round trips. A get in one message is slower on iRODS 5.0.2, which clears
    32 MiB for each, however small the object is. Errors of python-irodsclient are not
    translated.

    Parameters
    ----------
    zone
        The zone.
    path
        The data object.
    size
        How many bytes to read, at most SINGLE_BUFFER.
    replica
        The number of the replica to read; None for the server's choice.

    Returns
    -------
    bytes
        The bytes of one replica.
    """
    options = {} if replica is None else {kw.REPL_NUM_KW: str(replica)}
    with zone.session.pool.get_connection() as connection:
        descriptor = _open(connection, path, os.O_RDONLY, options)
        read = [_descriptor_request("DATA_OBJ_READ_AN", descriptor, length=size)] if size else []
        close = _descriptor_request("DATA_OBJ_CLOSE_AN", descriptor)
        replies = _pipeline(connection, *read, close)
    return bytes(replies[0].bs or b"") if size else b""


def unpack(zone: Zone, tar: str, collection: str) -> None:
    """Make the server unpack a tar object into a collection, as ``ibun -x`` does.

    The new objects lie on the resource of the tar object, with a replica on each branch of a
    replication resource, and have no checksum. Errors of python-irodsclient are not translated.

    Parameters
    ----------
    zone
        The zone.
    tar
        The data object to unpack.
    collection
        The collection that receives the objects.
    """
    body = _ExtractAndRegister(
        objPath=tar,
        collection=collection,
        oprType=0,
        flags=0,
        KeyValPair_PI=StringStringMap({}),
    )
    _send_and_receive(zone, "STRUCT_FILE_EXT_AND_REG_AN", body)


def stored_checksum(zone: Zone, path: str, hierarchy: str, file: str, size: int) -> str:
    """Return the checksum of a replica's file, read from storage; the catalog is not asked.

    The server allows this to administrators alone; others get SYS_NO_API_PRIV. Errors of
    python-irodsclient are not translated.

    Parameters
    ----------
    zone
        The zone.
    path
        The data object.
    hierarchy
        The hierarchy of resources that holds the replica, as ``pair;disk1``.
    file
        The replica's file in the vault.
    size
        Bytes of the file.

    Returns
    -------
    str
        The checksum as iRODS writes it.
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
    answer = _send_and_receive(zone, "FILE_CHKSUM_AN", body).get_main_message(_FileChksumOut)
    return str(answer.chksumStr)
