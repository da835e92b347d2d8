"""Tar files unpacked into collections, and checksums read straight from a vault."""

from __future__ import annotations

import os
import shutil
import tarfile
from typing import Any

from . import codes
from .api_coll import make
from .catalog import READ, clean
from .locks import GOOD, INTERMEDIATE
from .objects import forget, insert, pick, spread
from .opening import existing
from .request import Reply, Request, api
from .session import Session
from .vault import checksum_file, create_file, open_file, sync_file, unlink
from .wire import IrodsError, pack

_BAD_TAR = codes.SYS_TAR_EXTRACT_ALL_ERR  # SYS_TAR_EXTRACT_ALL_ERR
_IN_RESOURCE = codes.SYS_COPY_ALREADY_IN_RESC  # SYS_COPY_ALREADY_IN_RESC


def _place(collection: str, member: tarfile.TarInfo) -> str:
    path = clean(f"{collection}/{member.name}")
    here = path == collection and member.isdir()  # "./", with which `tar -c .` begins
    if ".." in member.name.split("/") or not (here or path.startswith(collection + "/")):
        raise IrodsError(_BAD_TAR, "a member leads out of the collection")
    return path


@api(665)
def extract_and_register(s: Session, r: Request) -> Reply:
    """Unpack a tar object into a collection, on the tar's own resource, without checksums.

    As the real server does: each file becomes an object with a good replica on each branch that
    the tar's tree replicates to; nothing that exists is overwritten unless asked, and what was
    unpacked before an error stays.
    """
    kw = r.node.keywords()
    collection = clean(r.node.get("collection"))
    rows = existing(s, clean(r.node.get("objPath")), READ, codes.OBJ_PATH_DOES_NOT_EXIST)
    row = pick(s, rows, kw)
    leaf = s.cat.resources[row["resc_id"]]
    make(s, collection, True)
    refused = 0
    made: list[tuple[str, int]] = []
    try:
        with tarfile.open(row["path"], "r:") as tar:
            for member in tar:
                path = _place(collection, member)
                if member.isdir():
                    make(s, path, True)
                elif not member.isfile():
                    raise IrodsError(codes.SYMLINKED_BUNFILE_NOT_ALLOWED, "links are not unpacked")
                elif s.cat.replicas(path):
                    refused = _IN_RESOURCE
                else:
                    make(s, path.rsplit("/", 1)[0], True)
                    made.append(_unpack(s, tar, member, path, leaf))
    except tarfile.TarError:
        raise IrodsError(_BAD_TAR, "not a tar file") from None
    finally:
        _settle(s, made)
    return Reply(refused)


def _unpack(
    s: Session, tar: tarfile.TarFile, member: tarfile.TarInfo, path: str, leaf: Any
) -> tuple[str, int]:
    with s.cat.tx() as db:
        data_id, file = insert(s, db, path, leaf, INTERMEDIATE, {}, 0o600)
    source = tar.extractfile(member)
    assert source is not None
    try:
        with os.fdopen(create_file(file), "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    except BaseException:
        with s.cat.tx() as db:
            db.execute("DELETE FROM data WHERE id=?", (data_id,))
            forget(db, data_id)
        unlink([file])
        raise
    return file, data_id


def _settle(s: Session, made: list[tuple[str, int]]) -> None:
    # All writes first, then all syncs: the disk gets them in few large batches.
    for file, _ in made:
        fd = open_file(file, os.O_RDONLY)
        try:
            sync_file(fd)
        finally:
            os.close(fd)
    with s.cat.tx(durable=True) as db:
        db.executemany(
            "UPDATE data SET status=?, size=? WHERE id=?",
            [(GOOD, os.stat(file).st_size, data_id) for file, data_id in made],
        )
    for _, data_id in made:
        spread(s, data_id, 0)


@api(520)
def file_checksum(s: Session, r: Request) -> Reply:
    """Checksum of a vault file, no catalog involved; only for administrators."""
    if not s.admin:
        raise IrodsError(
            codes.SYS_NO_API_PRIV, "not on the list of APIs for clients"
        )  # SYS_NO_API_PRIV
    leaf = s.cat.resource(r.node.get("rescHier").rsplit(";", 1)[-1])
    path = os.path.realpath(r.node.get("fileName"))
    if not path.startswith(os.path.realpath(leaf["vault"]) + "/"):
        raise IrodsError(codes.SYS_NO_API_PRIV, "outside the resource's vault")
    try:
        if os.stat(path).st_size < r.node.num("dataSize"):
            raise IrodsError(codes.UNIX_FILE_READ_ERR, "shorter than the catalog says")
    except OSError as e:
        raise IrodsError(codes.UNIX_FILE_OPEN_ERR - (e.errno or 0), path) from None
    return Reply(0, pack("fileChksumOut_PI", chksumStr=checksum_file(path)))
