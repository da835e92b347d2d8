"""Read-only views of the catalog with the table and column names of iRODS's own.

Specific queries and GenQuery2 use them. The views contain no passwords, and the connections opened
here can read no other secrets either.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Any

from .catalog import LEVEL_NAMES, Catalog, timestamp

MAX_QUERY_SECONDS = 60.0

_TOKENS = " UNION ALL ".join(
    f"SELECT 'access_type' AS token_namespace, {n} AS token_id, '{name}' AS token_name,"
    " '' AS token_value, '' AS token_value2, '' AS token_value3, '' AS r_comment,"
    " '1170000000' AS create_ts, '1170000000' AS modify_ts"
    for n, name in LEVEL_NAMES.items()
)
_RULES = ", ".join(
    f"NULL AS {c}"
    for c in (
        "rule_exec_id", "rule_name", "rei_file_path", "user_name", "exe_address", "exe_time",
        "exe_frequency", "priority", "estimated_exe_time", "notification_addr", "last_exe_time",
        "exe_status", "lock_host", "lock_host_pid", "lock_ts", "exe_context",
    )
)  # fmt: skip

VIEWS = {
    "R_ZONE_MAIN": "SELECT id AS zone_id, name AS zone_name, type AS zone_type_name,"
    " conn AS zone_conn_string, comment AS r_comment, '' AS create_ts, '' AS modify_ts FROM zone",
    "R_USER_MAIN": "SELECT id AS user_id, name AS user_name, type AS user_type_name,"
    " zone AS zone_name, info AS user_info, comment AS r_comment, ctime AS create_ts,"
    " mtime AS modify_ts FROM user",
    "R_USER_AUTH": "SELECT user_id, dn AS user_auth_name, ctime AS create_ts FROM user_auth",
    "R_USER_GROUP": "SELECT group_id AS group_user_id, user_id, '' AS create_ts,"
    " '' AS modify_ts FROM member",
    "R_RESC_MAIN": "SELECT id AS resc_id, name AS resc_name,"
    " (SELECT name FROM zone WHERE type='local') AS zone_name, type AS resc_type_name,"
    " class AS resc_class_name, loc AS resc_net, vault AS resc_def_path, free AS free_space,"
    " free_time AS free_space_ts, info AS resc_info, comment AS r_comment, status AS resc_status,"
    " ctime AS create_ts, mtime AS modify_ts, '000' AS modify_ts_millis,"
    " children AS resc_children, context AS resc_context, parent AS resc_parent,"
    " parent_ctx AS resc_parent_context FROM resc",
    "R_COLL_MAIN": "SELECT id AS coll_id, name AS coll_name, parent AS parent_coll_name,"
    " owner AS coll_owner_name, ozone AS coll_owner_zone, 0 AS coll_map_id,"
    " inherit AS coll_inheritance, '' AS coll_type, '' AS coll_info1, '' AS coll_info2,"
    " comments AS r_comment, ctime AS create_ts, mtime AS modify_ts FROM coll",
    "R_DATA_MAIN": "SELECT id AS data_id, coll_id, name AS data_name, repl AS data_repl_num,"
    " '' AS data_version, type AS data_type_name, size AS data_size, path AS data_path,"
    " owner AS data_owner_name, ozone AS data_owner_zone, status AS data_is_dirty,"
    " '' AS data_status, checksum AS data_checksum, expiry AS data_expiry_ts, 0 AS data_map_id,"
    " comments AS r_comment, mode AS data_mode, ctime AS create_ts, mtime AS modify_ts,"
    " atime AS access_ts, resc_id, (SELECT r.name FROM resc r WHERE r.id=data.resc_id)"
    " AS resc_name, hier(resc_id) AS resc_hier FROM data",
    "R_META_MAIN": "SELECT id AS meta_id, attr AS meta_attr_name, value AS meta_attr_value,"
    " units AS meta_attr_unit, '' AS meta_namespace, '' AS r_comment, ctime AS create_ts,"
    " mtime AS modify_ts FROM meta",
    "R_OBJT_METAMAP": "SELECT object_id, meta_id, ctime AS create_ts, mtime AS modify_ts FROM objt",
    "R_OBJT_ACCESS": "SELECT object_id, user_id, level AS access_type_id, '' AS create_ts,"
    " '' AS modify_ts FROM access",
    "R_TOKN_MAIN": _TOKENS,
    "R_RULE_EXEC": f"SELECT {_RULES} WHERE 0",
    "R_SPECIFIC_QUERY": "SELECT alias, sql AS sqlStr, ctime AS create_ts FROM specific",
    "R_QUOTA_MAIN": "SELECT user_id, resc_id, lim AS quota_limit, over AS quota_over,"
    " mtime AS modify_ts FROM quota",
    "R_QUOTA_USAGE": "SELECT user_id, resc_id, usage AS quota_usage, mtime AS modify_ts"
    " FROM quota_usage",
}


_ACLS = (
    "SELECT DISTINCT u.user_name, u.zone_name, t.token_name, u.user_type_name"
    " FROM R_OBJT_ACCESS a JOIN R_USER_MAIN u ON u.user_id = a.user_id"
    " JOIN R_TOKN_MAIN t ON t.token_id = a.access_type_id"
    " JOIN R_COLL_MAIN c ON c.coll_id = a.object_id WHERE c.coll_name = ?"
)
BUILT_IN = {
    "ls": "SELECT alias, sqlStr FROM R_SPECIFIC_QUERY",
    "lsl": "SELECT alias, sqlStr FROM R_SPECIFIC_QUERY WHERE sqlStr LIKE ?",
    "listQueryByAliasLike": "SELECT alias, sqlStr FROM R_SPECIFIC_QUERY WHERE alias LIKE ?",
    "findQueryByAlias": "SELECT alias, sqlStr FROM R_SPECIFIC_QUERY WHERE alias = ?",
    "ShowCollAcls": _ACLS,
    "listSharedCollectionsOwnedByUser": "SELECT DISTINCT c.parent_coll_name, c.coll_name,"
    " c.create_ts, c.modify_ts, c.coll_id, c.coll_owner_name, c.coll_owner_zone, c.coll_type"
    " FROM R_COLL_MAIN c JOIN R_OBJT_ACCESS a ON a.object_id = c.coll_id JOIN R_USER_MAIN u"
    " ON u.user_id = a.user_id WHERE c.coll_owner_name = ?1 AND c.coll_owner_zone = ?2"
    " AND u.user_name <> ?1 AND a.access_type_id >= 1050 ORDER BY c.coll_name LIMIT ?4 OFFSET ?3",
    "DataObjInCollReCur": "SELECT d.data_id, c.coll_name, d.data_name FROM R_DATA_MAIN d"
    " JOIN R_COLL_MAIN c ON c.coll_id = d.coll_id WHERE c.coll_name = ?1"
    " OR c.coll_name LIKE ?1 || '/%' ORDER BY c.coll_name, d.data_name",
}


def create(db: sqlite3.Connection) -> None:
    """Recreate views and built-in queries: another version may have left different ones."""
    for name, sql in VIEWS.items():
        db.execute(f"DROP VIEW IF EXISTS {name}")
        db.execute(f"CREATE VIEW {name} AS {sql}")
    for alias, sql in BUILT_IN.items():
        db.execute("DELETE FROM specific WHERE alias=?", (alias,))
        db.execute("INSERT INTO specific VALUES(?,?,?)", (alias, sql, timestamp()))


_ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_SECRET = {("user", "password"), ("temp_password", "password"), ("ticket", "string")}


def _authorize(action: int, first: str | None, second: str | None, *_: object) -> int:
    """Allow only reading, and no secrets."""
    if action == sqlite3.SQLITE_READ:
        return sqlite3.SQLITE_DENY if (first, second) in _SECRET else sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_FUNCTION and second in ("load_extension", "randomblob", "zeroblob"):
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY


def run_readonly(
    catalog: Catalog, sql: str, args: tuple[object, ...] = ()
) -> list[tuple[Any, ...]]:
    """Run SQL that a client or an administrator wrote.

    Parameters
    ----------
    catalog : Catalog
        The catalog.
    sql : str
        A query of the views.
    args : tuple
        Values of its parameters.

    Returns
    -------
    list of tuple
        The rows.

    Raises
    ------
    sqlite3.Error
        The query is wrong, not allowed, or takes longer than `MAX_QUERY_SECONDS`.
    """
    db = sqlite3.connect(f"file:{catalog.file}?mode=ro", uri=True, timeout=30)
    try:
        db.execute("PRAGMA case_sensitive_like=ON")
        db.create_function("hier", 1, catalog.hierarchy)
        db.set_authorizer(_authorize)
        until = time.monotonic() + MAX_QUERY_SECONDS
        db.set_progress_handler(lambda: time.monotonic() > until, 100_000)
        return db.execute(sql, args).fetchall()
    finally:
        db.close()
