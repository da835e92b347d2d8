"""Tar files unpacked into collections, and checksums read straight from a vault."""

from __future__ import annotations

import os
import shutil
import tarfile
from typing import Any

from ..api_messages import Reply, Request
from ..api_numbers import Api
from ..api_registry import handles
from ..catalog import READ, canonical_path
from ..data_objects import (
    choose_replica,
    delete_dependents,
    insert_data_object,
    replicate_to_siblings,
)
from ..error_codes import ErrorCode
from ..errors import IrodsError
from ..logical_locking import GOOD, INTERMEDIATE
from ..namespace import create_collection
from ..replica_access import require_replicas
from ..session import Session
from ..vault import checksum_file, create_file, delete_files, open_file, sync_file
from ..xml_structures import pack

_BAD_TAR = ErrorCode.SYS_TAR_EXTRACT_ALL_ERR  # SYS_TAR_EXTRACT_ALL_ERR
_IN_RESOURCE = ErrorCode.SYS_COPY_ALREADY_IN_RESC  # SYS_COPY_ALREADY_IN_RESC


def _place(collection: str, member: tarfile.TarInfo) -> str:
    path = canonical_path(f"{collection}/{member.name}")
    here = path == collection and member.isdir()  # "./", with which `tar -c .` begins
    if ".." in member.name.split("/") or not (here or path.startswith(collection + "/")):
        raise IrodsError(_BAD_TAR, "a member leads out of the collection")
    return path


@handles(Api.STRUCT_FILE_EXT_AND_REG_AN)
def _struct_file_ext(session: Session, request: Request) -> Reply:
    """Unpack a tar object into a collection, on the tar's own resource, without checksums.

    As the real server does: each file becomes an object with a good replica on each branch that
    the tar's tree replicates to; nothing that exists is overwritten unless asked, and what was
    unpacked before an error stays.
    """
    keywords = request.node.keywords()
    collection = canonical_path(request.node.get("collection"))
    rows = require_replicas(
        session,
        canonical_path(request.node.get("objPath")),
        READ,
        ErrorCode.OBJ_PATH_DOES_NOT_EXIST,
    )
    row = choose_replica(session, rows, keywords)
    leaf = session.catalog.resources[row["resc_id"]]
    create_collection(session, collection, True)
    refused = 0
    made: list[tuple[str, int]] = []
    try:
        with tarfile.open(row["path"], "r:") as tar:
            for member in tar:
                path = _place(collection, member)
                if member.isdir():
                    create_collection(session, path, True)
                elif not member.isfile():
                    raise IrodsError(
                        ErrorCode.SYMLINKED_BUNFILE_NOT_ALLOWED, "links are not unpacked"
                    )
                elif session.catalog.replicas(path):
                    refused = _IN_RESOURCE
                else:
                    create_collection(session, path.rsplit("/", 1)[0], True)
                    made.append(_unpack(session, tar, member, path, leaf))
    except tarfile.TarError:
        raise IrodsError(_BAD_TAR, "not a tar file") from None
    finally:
        _settle(session, made)
    return Reply(refused)


def _unpack(
    session: Session, tar: tarfile.TarFile, member: tarfile.TarInfo, path: str, leaf: Any
) -> tuple[str, int]:
    with session.catalog.transaction() as db:
        data_id, file = insert_data_object(session, db, path, leaf, INTERMEDIATE, {}, 0o600)
    source = tar.extractfile(member)
    assert source is not None
    try:
        with os.fdopen(create_file(file), "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    except BaseException:
        with session.catalog.transaction() as db:
            db.execute("DELETE FROM data WHERE id=?", (data_id,))
            delete_dependents(db, data_id)
        delete_files([file])
        raise
    return file, data_id


def _settle(session: Session, made: list[tuple[str, int]]) -> None:
    # All writes first, then all syncs: the disk gets them in few large batches.
    for file, _ in made:
        fd = open_file(file, os.O_RDONLY)
        try:
            sync_file(fd)
        finally:
            os.close(fd)
    with session.catalog.transaction(durable=True) as db:
        db.executemany(
            "UPDATE data SET status=?, size=? WHERE id=?",
            [(GOOD, os.stat(file).st_size, data_id) for file, data_id in made],
        )
    for _, data_id in made:
        replicate_to_siblings(session, data_id, 0)


@handles(Api.FILE_CHKSUM_AN)
def _file_chksum(session: Session, request: Request) -> Reply:
    """Checksum of a vault file, no catalog involved; only for administrators."""
    if not session.is_admin:
        raise IrodsError(
            ErrorCode.SYS_NO_API_PRIV, "not on the list of APIs for clients"
        )  # SYS_NO_API_PRIV
    leaf = session.catalog.resource(request.node.get("rescHier").rsplit(";", 1)[-1])
    path = os.path.realpath(request.node.get("fileName"))
    if not path.startswith(os.path.realpath(leaf["vault"]) + "/"):
        raise IrodsError(ErrorCode.SYS_NO_API_PRIV, "outside the resource's vault")
    try:
        if os.stat(path).st_size < request.node.number("dataSize"):
            raise IrodsError(ErrorCode.UNIX_FILE_READ_ERR, "shorter than the catalog says")
    except OSError as e:
        raise IrodsError(ErrorCode.UNIX_FILE_OPEN_ERR - (e.errno or 0), path) from None
    return Reply(0, pack("fileChksumOut_PI", chksumStr=checksum_file(path)))
