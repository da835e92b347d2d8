"""Checksums of data objects, always computed from the files in the vaults."""

from __future__ import annotations

import errno
import json
import os
import sqlite3

from ..access_control import require_access
from ..api_messages import Reply, Request, string_reply
from ..api_numbers import Api
from ..api_registry import handles
from ..catalog import READ, canonical_path
from ..data_objects import matching_replicas
from ..error_codes import ErrorCode
from ..errors import IrodsError
from ..logical_locking import GOOD
from ..replica_access import open_error
from ..session import Session
from ..vault import checksum_file, checksum_scheme
from ..xml_structures import pack


@handles(Api.DATA_OBJ_CHKSUM_AN)
def _data_obj_chksum(session: Session, request: Request) -> Reply:
    """Return a checksum, computed and registered if there is none; or verify checksums."""
    keywords = request.node.keywords()
    path = canonical_path(request.node.get("objPath"))
    rows = session.catalog.replicas(path)
    if not rows:
        raise IrodsError(
            ErrorCode.OBJ_PATH_DOES_NOT_EXIST
            if session.catalog.collection(path) is None
            else ErrorCode.CAT_UNKNOWN_FILE,
            path,
        )
    require_access(session, rows[0]["id"], READ, ErrorCode.OBJ_PATH_DOES_NOT_EXIST)
    if "replNum" in keywords:
        rows = [x for x in rows if x["repl"] == int(keywords["replNum"])]
        if not rows:
            raise IrodsError(ErrorCode.SYS_REPLICA_DOES_NOT_EXIST, "no such replica")
    elif (
        keywords.get("destRescName")
        or keywords.get("rescName")
        or ("ChksumAll" not in keywords and "verifyChksum" not in keywords)
    ):
        rows = matching_replicas(session, rows, keywords)[:1]
        if not rows:
            raise IrodsError(ErrorCode.SYS_REPLICA_DOES_NOT_EXIST, "no such replica")
    session.zone.locks.check_free(rows[0]["id"])
    if "verifyChksum" in keywords:
        return _verify(session, rows)
    result = ""
    for row in rows:
        if row["status"] != GOOD and len(rows) > 1:
            continue
        value = row["checksum"]
        if not value or "forceChksum" in keywords:
            value = _register_checksum(session, row)
        result = result or value
    return string_reply(result)


def _register_checksum(session: Session, row: sqlite3.Row) -> str:
    """Compute and register a replica's checksum, unless its file changes while it is read."""
    try:
        before = os.lstat(row["path"])
        value = checksum_file(row["path"])
    except (OSError, IrodsError):
        raise open_error(session, row, FileNotFoundError(errno.ENOENT, "no file")) from None
    with session.catalog.transaction(durable=True) as db:
        session.zone.locks.check_free(row["id"])
        try:
            after = os.lstat(row["path"])
        except OSError as e:
            raise open_error(session, row, e) from None
        if (before.st_ino, before.st_mtime_ns) != (after.st_ino, after.st_mtime_ns):
            raise IrodsError(
                ErrorCode.LOCKED_DATA_OBJECT_ACCESS, "the replica changed while it was read"
            )
        db.execute(
            "UPDATE data SET checksum=? WHERE id=? AND repl=?", (value, row["id"], row["repl"])
        )
    return value


def _verify(session: Session, rows: list[sqlite3.Row]) -> Reply:
    """Recompute the checksum of every good replica and return what does not match."""
    found: list[dict[str, object]] = []
    for row in rows:
        if row["status"] == GOOD:
            _verify_one(row, found)
    if len({row["checksum"] for row in rows if row["status"] == GOOD and row["checksum"]}) > 1:
        _add_finding(
            found,
            ErrorCode.USER_CHKSUM_MISMATCH,
            "WARNING: Data object has replicas with different checksums.",
        )
    if not found:
        return Reply()
    return Reply(ErrorCode.CHECK_VERIFICATION_RESULTS, pack("STR_PI", myStr=json.dumps(found)))


def _add_finding(found: list[dict[str, object]], code: int, message: str) -> None:
    severity = message.partition(":")[0].lower()
    found.append({"error_code": code, "message": message, "severity": severity})


def _verify_one(row: sqlite3.Row, found: list[dict[str, object]]) -> None:
    which = f"replica [{row['repl']}]."
    try:
        size = os.lstat(row["path"]).st_size
    except OSError as e:
        _add_finding(
            found,
            ErrorCode.UNIX_FILE_STAT_ERR - (e.errno or 0),
            f"ERROR: Could not stat file of {which}",
        )
        return
    if size != row["size"]:
        _add_finding(
            found,
            ErrorCode.USER_FILE_SIZE_MISMATCH,
            f"ERROR: Physical size does not match size in catalog for {which}",
        )
    elif not row["checksum"]:
        _add_finding(
            found,
            ErrorCode.CAT_NO_CHECKSUM_FOR_REPLICA,
            f"WARNING: No checksum available for {which}",
        )
    elif checksum_file(row["path"], checksum_scheme(row["checksum"])) != row["checksum"]:
        said = "Computed checksum does not match what is in the catalog for"
        _add_finding(found, ErrorCode.USER_CHKSUM_MISMATCH, f"ERROR: {said} {which}")
