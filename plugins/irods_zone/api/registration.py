"""Registration of files in place, and changes to what the catalog says of replicas."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

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


@handles(Api.PHY_PATH_REG_AN)
def _phy_path_reg(session: Session, request: Request) -> Reply:
    """Make a file or folder of the server's machine known under a logical path."""
    if not session.is_admin:
        raise IrodsError(ErrorCode.CAT_INSUFFICIENT_PRIVILEGE_LEVEL, "administrators only")
    path, keywords = canonical_path(request.node.get("objPath")), request.node.keywords()
    leaf, file = (
        target_leaf(session, keywords),
        _require_registrable(session, keywords.get("filePath", "")),
    )
    if "collection" in keywords:
        if not file.is_dir():
            raise IrodsError(ErrorCode.UNIX_FILE_OPENDIR_ERR - 20, "not a folder")
        _register_folder(session, path, file, leaf, keywords)
    else:
        _register_file(session, path, file, leaf, keywords)
    return Reply()


def _require_registrable(session: Session, text: str) -> Path:
    """A path that may be registered: absolute, there, and not of the zone's own files."""
    if not text.startswith("/"):
        raise IrodsError(ErrorCode.USER_INPUT_PATH_ERR, "filePath is not absolute")
    try:
        file = Path(text).resolve(strict=True)
    except OSError as e:
        raise IrodsError(
            ErrorCode.UNIX_FILE_STAT_ERR - (e.errno or 0), "file is not there"
        ) from None
    own = session.zone.directory.resolve()
    if own == file or own in file.parents or file in own.parents:
        raise IrodsError(
            ErrorCode.CANT_REG_IN_VAULT_FILE, "the zone's own files are not registered"
        )
    return file


def _register_folder(
    session: Session, path: str, folder: Path, leaf: Any, keywords: dict[str, str]
) -> None:
    """A folder with all below it; links are not followed."""
    create_collection(session, path, recursive=True)
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if entry.is_dir(follow_symlinks=False):
            _register_folder(session, f"{path}/{entry.name}", folder / entry.name, leaf, keywords)
        elif entry.is_file(follow_symlinks=False):
            _register_file(session, f"{path}/{entry.name}", folder / entry.name, leaf, keywords)


def _register_file(
    session: Session, path: str, file: Path, leaf: Any, keywords: dict[str, str]
) -> None:
    info = os.stat(file, follow_symlinks=False)
    if not stat.S_ISREG(info.st_mode):
        raise IrodsError(ErrorCode.UNIX_FILE_OPEN_ERR, "not a plain file")
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
                "INSERT INTO data SELECT id,?,coll_id,name,size,type,?,?,owner,ozone,1,'',expiry,"
                "comments,mode,?,?,? FROM data WHERE id=? AND repl=?",
                (repl, leaf["id"], str(file), t, t, t, data_id, rows[0]["repl"]),
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
    """Change what the catalog says of one replica, or with ``all`` of every one."""
    info, changes = request.node.child("DataObjInfo_PI"), request.node.keywords()
    rows = session.catalog.replicas(canonical_path(info.get("objPath")))
    if not rows:
        raise IrodsError(ErrorCode.CAT_UNKNOWN_FILE, info.get("objPath"))
    require_access(session, rows[0]["id"], WRITE)
    if "all" not in changes:
        which = {"resc_hier": info.get("rescHier")} if info.get("rescHier") else {}
        if not which and info.get("rescName"):
            which = {"rescName": info.get("rescName")}
        rows = matching_replicas(session, rows, which or {"replNum": info.get("replNum") or "0"})[
            :1
        ]
        if not rows:
            raise IrodsError(ErrorCode.SYS_REPLICA_DOES_NOT_EXIST, "no such replica")
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
