"""Files registered in place, and changes to a replica's catalog entry."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from pathlib import Path

from ..access_control import require_access
from ..api_messages import Reply, Request
from ..api_numbers import Api
from ..api_registry import handles
from ..catalog import WRITE, canonical_path, timestamp
from ..data_objects import insert_data_object, matching_replicas
from ..error_codes import ErrorCode
from ..errors import IrodsError
from ..logical_locking import GOOD
from ..namespace import create_collection
from ..resource_hierarchy import target_leaf
from ..session import Session
from ..vault import checksum_file, checksum_scheme, verify_expected
from ..xml_structures import Node


@handles(Api.PHY_PATH_REG_AN)
def _phy_path_reg(session: Session, request: Request) -> Reply:
    """Register a file or directory of the server's machine; administrators only."""
    if not session.is_admin:
        raise IrodsError(ErrorCode.CAT_INSUFFICIENT_PRIVILEGE_LEVEL, "administrators only")
    path, keywords = canonical_path(request.node.get("objPath")), request.node.keywords()
    leaf = target_leaf(session, keywords)
    file = _require_registrable(session, keywords.get("filePath", ""))
    if "collection" in keywords:
        if not file.is_dir():
            raise IrodsError(ErrorCode.UNIX_FILE_OPENDIR_ERR - errno.ENOTDIR, "not a directory")
        _register_directory(session, path, file, leaf, keywords)
    else:
        _register_file(session, path, file, leaf, keywords)
    return Reply()


def _require_registrable(session: Session, text: str) -> Path:
    """Return a path that may be registered: absolute, existing, and not of the zone itself."""
    if not text.startswith("/"):
        raise IrodsError(ErrorCode.USER_INPUT_PATH_ERR, "filePath is not absolute")
    try:
        file = Path(text).resolve(strict=True)
    except OSError as e:
        raise IrodsError(
            ErrorCode.UNIX_FILE_STAT_ERR - (e.errno or 0), "there is no such file"
        ) from None
    own = session.zone.directory.resolve()
    if own == file or own in file.parents or file in own.parents:
        raise IrodsError(
            ErrorCode.CANT_REG_IN_VAULT_FILE, "files of the zone itself cannot be registered"
        )
    return file


def _register_directory(
    session: Session, path: str, directory: Path, leaf: sqlite3.Row, keywords: dict[str, str]
) -> None:
    """Register a directory and all below it, without following symbolic links."""
    create_collection(session, path, recursive=True)
    for entry in sorted(os.scandir(directory), key=lambda e: e.name):
        if entry.is_dir(follow_symlinks=False):
            _register_directory(
                session, f"{path}/{entry.name}", directory / entry.name, leaf, keywords
            )
        elif entry.is_file(follow_symlinks=False):
            _register_file(session, f"{path}/{entry.name}", directory / entry.name, leaf, keywords)


def _register_file(
    session: Session, path: str, file: Path, leaf: sqlite3.Row, keywords: dict[str, str]
) -> None:
    info = os.stat(file, follow_symlinks=False)
    if not stat.S_ISREG(info.st_mode):
        raise IrodsError(ErrorCode.UNIX_FILE_OPEN_ERR, "not a regular file")
    checksum = ""
    if "regChksum" in keywords or "verifyChksum" in keywords:
        expected = keywords.get("verifyChksum", "")
        checksum = checksum_file(str(file), checksum_scheme(expected))
        verify_expected(expected, checksum)
    rows = session.catalog.replicas(path)
    with session.catalog.transaction(durable=True) as db:
        if not rows:
            data_id, _ = insert_data_object(session, db, path, leaf, GOOD, keywords, 0o600)
            repl = 0
        elif "regRepl" in keywords:
            require_access(session, rows[0]["id"], WRITE)
            data_id, repl = rows[0]["id"], rows[-1]["repl"] + 1
            t = timestamp()
            db.execute(
                "INSERT INTO data SELECT id,?,coll_id,name,size,type,?,?,owner,ozone,?,'',expiry,"
                "comments,mode,?,?,? FROM data WHERE id=? AND repl=?",
                (repl, leaf["id"], str(file), GOOD, t, t, t, data_id, rows[0]["repl"]),
            )
        elif "forceFlag" in keywords and any(x["path"] == str(file) for x in rows):
            require_access(session, rows[0]["id"], WRITE)
            data_id, repl = next((x["id"], x["repl"]) for x in rows if x["path"] == str(file))
        else:
            raise IrodsError(ErrorCode.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, path)
        db.execute(
            "UPDATE data SET path=?, size=?, checksum=?, mtime=? WHERE id=? AND repl=?",
            (str(file), info.st_size, checksum, timestamp(), data_id, repl),
        )


# keyword -> column, whether it is a time, whether only an administrator may set it
_FIELDS: dict[str, tuple[str, bool, bool]] = {
    "dataSize": ("size", False, True), "dataModify": ("mtime", True, False),
    "dataCreate": ("ctime", True, True), "dataAccess": ("atime", True, False),
    "dataExpiry": ("expiry", True, False), "dataComments": ("comments", False, False),
    "dataType": ("type", False, False), "chksum": ("checksum", False, True),
    "replStatus": ("status", False, True), "dataMode": ("mode", False, True),
}  # fmt: skip


@handles(Api.MOD_DATA_OBJ_META_AN, Api.DATA_OBJECT_MODIFY_INFO_APN)
def _mod_data_obj_meta(session: Session, request: Request) -> Reply:
    """Change the catalog entry of one replica, or with ``all`` of every one."""
    info, changes = request.node.child("DataObjInfo_PI"), request.node.keywords()
    rows = session.catalog.replicas(canonical_path(info.get("objPath")))
    if not rows:
        raise IrodsError(ErrorCode.CAT_UNKNOWN_FILE, info.get("objPath"))
    require_access(session, rows[0]["id"], WRITE)
    if "all" not in changes:
        rows = [_named_replica(session, rows, info)]
    with session.catalog.transaction(durable=True) as db:
        for name, value in changes.items():
            if name in ("all", "irodsAdmin"):
                continue
            if name not in _FIELDS:
                raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, name)
            column, is_time, reserved = _FIELDS[name]
            if reserved and not session.is_admin:
                raise IrodsError(ErrorCode.CAT_INSUFFICIENT_PRIVILEGE_LEVEL, name)
            if is_time or column in ("size", "status"):
                if not value.isdigit():
                    raise IrodsError(ErrorCode.SYS_INVALID_INPUT_PARAM, f"{name} {value}")
                value = f"{int(value):011d}" if is_time else value
            for row in rows:
                db.execute(
                    f"UPDATE data SET {column}=? WHERE id=? AND repl=?",
                    (value, row["id"], row["repl"]),
                )
    return Reply()


def _named_replica(session: Session, rows: list[sqlite3.Row], info: Node) -> sqlite3.Row:
    """Return the replica that a DataObjInfo_PI names by hierarchy, resource or number."""
    if info.get("rescHier"):
        named = {"resc_hier": info.get("rescHier")}
    elif info.get("rescName"):
        named = {"rescName": info.get("rescName")}
    else:
        named = {"replNum": info.get("replNum") or "0"}
    found = matching_replicas(session, rows, named)
    if not found:
        raise IrodsError(ErrorCode.SYS_REPLICA_DOES_NOT_EXIST, "no such replica")
    return found[0]
