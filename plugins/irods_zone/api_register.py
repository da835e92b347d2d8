"""Registration of files in place, and changes to what the catalog says of replicas."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from . import codes
from .api_coll import make
from .catalog import WRITE, clean, now
from .locks import GOOD
from .objects import asked, insert, need
from .request import Reply, Request, api
from .session import Session
from .tree import target
from .vault import check_expected, checksum_file, kind_of
from .wire import IrodsError


@api(630)
def register(s: Session, r: Request) -> Reply:
    """Make a file or folder of the server's machine known under a logical path."""
    if not s.admin:
        raise IrodsError(codes.CAT_INSUFFICIENT_PRIVILEGE_LEVEL, "administrators only")
    path, kw = clean(r.node.get("objPath")), r.node.keywords()
    leaf, file = target(s, kw), checked(s, kw.get("filePath", ""))
    if "collection" in kw:
        if not file.is_dir():
            raise IrodsError(codes.UNIX_FILE_OPENDIR_ERR - 20, "not a folder")
        _register_folder(s, path, file, leaf, kw)
    else:
        _register_file(s, path, file, leaf, kw)
    return Reply()


def checked(s: Session, text: str) -> Path:
    """A path that may be registered: absolute, there, and not of the zone's own files."""
    if not text.startswith("/"):
        raise IrodsError(codes.USER_INPUT_PATH_ERR, "filePath is not absolute")
    try:
        file = Path(text).resolve(strict=True)
    except OSError as e:
        raise IrodsError(codes.UNIX_FILE_STAT_ERR - (e.errno or 0), "file is not there") from None
    own = s.server.directory.resolve()
    if own == file or own in file.parents or file in own.parents:
        raise IrodsError(codes.CANT_REG_IN_VAULT_FILE, "the zone's own files are not registered")
    return file


def _register_folder(s: Session, path: str, folder: Path, leaf: Any, kw: dict[str, str]) -> None:
    """A folder with all below it; links are not followed."""
    make(s, path, recursive=True)
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if entry.is_dir(follow_symlinks=False):
            _register_folder(s, f"{path}/{entry.name}", folder / entry.name, leaf, kw)
        elif entry.is_file(follow_symlinks=False):
            _register_file(s, f"{path}/{entry.name}", folder / entry.name, leaf, kw)


def _register_file(s: Session, path: str, file: Path, leaf: Any, kw: dict[str, str]) -> None:
    info = os.stat(file, follow_symlinks=False)
    if not stat.S_ISREG(info.st_mode):
        raise IrodsError(codes.UNIX_FILE_OPEN_ERR, "not a plain file")
    checksum = ""
    if "regChksum" in kw or "verifyChksum" in kw:
        expected = kw.get("verifyChksum", "")
        checksum = checksum_file(str(file), kind_of(expected))
        check_expected(expected, checksum)
    rows = s.cat.replicas(path)
    with s.cat.tx(durable=True) as db:
        if not rows:
            data_id, _ = insert(s, db, path, leaf, GOOD, kw, 0o600)
            repl = 0
        elif "regRepl" in kw:
            need(s, rows[0]["id"], WRITE)
            data_id, repl = rows[0]["id"], rows[-1]["repl"] + 1
            t = now()
            db.execute(
                "INSERT INTO data SELECT id,?,coll_id,name,size,type,?,?,owner,ozone,1,'',expiry,"
                "comments,mode,?,?,? FROM data WHERE id=? AND repl=?",
                (repl, leaf["id"], str(file), t, t, t, data_id, rows[0]["repl"]),
            )
        elif "forceFlag" in kw and any(x["path"] == str(file) for x in rows):
            need(s, rows[0]["id"], WRITE)
            data_id, repl = next((x["id"], x["repl"]) for x in rows if x["path"] == str(file))
        else:
            raise IrodsError(codes.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, path)
        db.execute(
            "UPDATE data SET path=?, size=?, checksum=?, mtime=? WHERE id=? AND repl=?",
            (str(file), info.st_size, checksum, now(), data_id, repl),
        )


# keyword -> column, whether it is a time, whether only an administrator may set it
_FIELDS: dict[str, tuple[str, bool, bool]] = {
    "dataSize": ("size", False, True), "dataModify": ("mtime", True, False),
    "dataCreate": ("ctime", True, True), "dataAccess": ("atime", True, False),
    "dataExpiry": ("expiry", True, False), "dataComments": ("comments", False, False),
    "dataType": ("type", False, False), "chksum": ("checksum", False, True),
    "replStatus": ("status", False, True), "dataMode": ("mode", False, True),
}  # fmt: skip


@api(622, 20001)
def modify_data(s: Session, r: Request) -> Reply:
    """Change what the catalog says of one replica, or with ``all`` of every one."""
    info, changes = r.node.child("DataObjInfo_PI"), r.node.keywords()
    rows = s.cat.replicas(clean(info.get("objPath")))
    if not rows:
        raise IrodsError(codes.CAT_UNKNOWN_FILE, info.get("objPath"))
    need(s, rows[0]["id"], WRITE)
    if "all" not in changes:
        which = {"resc_hier": info.get("rescHier")} if info.get("rescHier") else {}
        if not which and info.get("rescName"):
            which = {"rescName": info.get("rescName")}
        rows = asked(s, rows, which or {"replNum": info.get("replNum") or "0"})[:1]
        if not rows:
            raise IrodsError(codes.SYS_REPLICA_DOES_NOT_EXIST, "no such replica")
    with s.cat.tx(durable=True) as db:
        for name, value in changes.items():
            if name in ("all", "irodsAdmin"):
                continue
            if name not in _FIELDS:
                raise IrodsError(codes.CAT_INVALID_ARGUMENT, name)
            column, is_time, reserved = _FIELDS[name]
            if reserved and not s.admin:
                raise IrodsError(codes.CAT_INSUFFICIENT_PRIVILEGE_LEVEL, name)
            if is_time or column in ("size", "status"):
                if not value.isdigit():
                    raise IrodsError(codes.SYS_INVALID_INPUT_PARAM, f"{name} {value}")
                value = f"{int(value):011d}" if is_time else value
            for row in rows:
                db.execute(
                    f"UPDATE data SET {column}=? WHERE id=? AND repl=?",
                    (value, row["id"], row["repl"]),
                )
    return Reply()
