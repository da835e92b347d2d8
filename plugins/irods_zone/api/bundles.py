"""Tar files unpacked into collections, and checksums of vault files."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tarfile

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


def _member_path(collection: str, member: tarfile.TarInfo) -> str:
    """Return the logical path of a tar member; refuse members that lead out of the collection."""
    path = canonical_path(f"{collection}/{member.name}")
    here = path == collection and member.isdir()  # "./", the first member that `tar -c .` writes
    if ".." in member.name.split("/") or not (here or path.startswith(collection + "/")):
        raise IrodsError(ErrorCode.SYS_TAR_EXTRACT_ALL_ERR, "a member leads out of the collection")
    return path


@handles(Api.STRUCT_FILE_EXT_AND_REG_AN)
def _struct_file_ext_and_reg(session: Session, request: Request) -> Reply:
    """Unpack a tar file into a collection, on the tar file's resource, without checksums.

    As on the real server, every file becomes a data object that is replicated where the resource
    replicates, existing objects are kept, and what was unpacked before an error stays.
    """
    keywords = request.node.keywords()
    collection = canonical_path(request.node.get("collection"))
    tar_path = canonical_path(request.node.get("objPath"))
    rows = require_replicas(session, tar_path, READ, ErrorCode.OBJ_PATH_DOES_NOT_EXIST)
    row = choose_replica(session, rows, keywords)
    leaf = session.catalog.resources[row["resc_id"]]
    create_collection(session, collection, True)
    status = 0
    made: list[tuple[str, int]] = []
    try:
        with tarfile.open(row["path"], "r:") as tar:
            for member in tar:
                path = _member_path(collection, member)
                if member.isdir():
                    create_collection(session, path, True)
                elif not member.isfile():
                    raise IrodsError(
                        ErrorCode.SYMLINKED_BUNFILE_NOT_ALLOWED, "links are not unpacked"
                    )
                elif session.catalog.replicas(path):
                    status = ErrorCode.SYS_COPY_ALREADY_IN_RESC
                else:
                    create_collection(session, path.rsplit("/", 1)[0], True)
                    made.append(_unpack(session, tar, member, path, leaf))
    except tarfile.TarError:
        raise IrodsError(ErrorCode.SYS_TAR_EXTRACT_ALL_ERR, "not a tar file") from None
    finally:
        _finish(session, made)
    return Reply(status)


def _unpack(
    session: Session, tar: tarfile.TarFile, member: tarfile.TarInfo, path: str, leaf: sqlite3.Row
) -> tuple[str, int]:
    """Write one file to the vault; return the file and its data id."""
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


def _finish(session: Session, made: list[tuple[str, int]]) -> None:
    """Sync the files, mark their replicas as good, replicate them."""
    # All are synced after all are written: the disk then writes large batches.
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
    """Return the checksum of a vault file without using the catalog; administrators only."""
    if not session.is_admin:
        raise IrodsError(ErrorCode.SYS_NO_API_PRIV, "administrators only")
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
