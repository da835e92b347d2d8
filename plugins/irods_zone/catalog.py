"""The zone's catalog: SQLite tables and the few questions every API asks."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .error_codes import ErrorCode
from .errors import IrodsError

LEVELS = {
    "null": 1000, "read_metadata": 1040, "read": 1050, "read_object": 1050, "read object": 1050,
    "create_metadata": 1070, "modify_metadata": 1080, "delete_metadata": 1090,
    "create_object": 1110, "write": 1120, "modify_object": 1120, "modify object": 1120,
    "delete_object": 1130, "own": 1200,
}  # fmt: skip
LEVEL_NAMES = {
    1000: "null", 1040: "read_metadata", 1050: "read_object", 1070: "create_metadata",
    1080: "modify_metadata", 1090: "delete_metadata", 1110: "create_object",
    1120: "modify_object", 1130: "delete_object", 1200: "own",
}  # fmt: skip
READ, WRITE, OWN = 1050, 1120, 1200

SCHEMA = """
CREATE TABLE IF NOT EXISTS seq(n INTEGER);
CREATE TABLE IF NOT EXISTS zone(id INTEGER PRIMARY KEY, name TEXT UNIQUE, type TEXT, conn TEXT,
  comment TEXT);
CREATE TABLE IF NOT EXISTS coll(id INTEGER PRIMARY KEY, name TEXT UNIQUE, parent TEXT, owner TEXT,
  ozone TEXT, inherit TEXT DEFAULT '', comments TEXT DEFAULT '', ctime TEXT, mtime TEXT);
CREATE INDEX IF NOT EXISTS coll_parent ON coll(parent);
CREATE TABLE IF NOT EXISTS data(id INTEGER, repl INTEGER, coll_id INTEGER, name TEXT,
  size INTEGER, type TEXT, resc_id INTEGER, path TEXT, owner TEXT, ozone TEXT, status INTEGER,
  checksum TEXT DEFAULT '', expiry TEXT DEFAULT '00000000000', comments TEXT DEFAULT '',
  mode TEXT DEFAULT '33188', ctime TEXT, mtime TEXT, atime TEXT,
  PRIMARY KEY(id, repl)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS data_name ON data(coll_id, name);
CREATE UNIQUE INDEX IF NOT EXISTS data_once ON data(coll_id, name, repl);
CREATE INDEX IF NOT EXISTS data_resc ON data(resc_id);
CREATE INDEX IF NOT EXISTS data_open ON data(status) WHERE status > 1;
CREATE TABLE IF NOT EXISTS user(id INTEGER PRIMARY KEY, name TEXT, zone TEXT, type TEXT,
  info TEXT DEFAULT '', comment TEXT DEFAULT '', password TEXT DEFAULT '', ctime TEXT, mtime TEXT,
  UNIQUE(name, zone));
CREATE TABLE IF NOT EXISTS member(group_id INTEGER, user_id INTEGER,
  PRIMARY KEY(group_id, user_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS resc(id INTEGER PRIMARY KEY, name TEXT UNIQUE, type TEXT,
  class TEXT DEFAULT 'cache', loc TEXT, vault TEXT, parent TEXT DEFAULT '',
  parent_ctx TEXT DEFAULT '', context TEXT DEFAULT '', info TEXT DEFAULT '',
  comment TEXT DEFAULT '', status TEXT DEFAULT '', free TEXT DEFAULT '', free_time TEXT DEFAULT '',
  children TEXT DEFAULT '', ctime TEXT, mtime TEXT);
CREATE TABLE IF NOT EXISTS meta(id INTEGER PRIMARY KEY, attr TEXT, value TEXT, units TEXT,
  ctime TEXT, mtime TEXT, UNIQUE(attr, value, units));
CREATE INDEX IF NOT EXISTS meta_value ON meta(value);
CREATE TABLE IF NOT EXISTS objt(object_id INTEGER, meta_id INTEGER, ctime TEXT, mtime TEXT,
  PRIMARY KEY(object_id, meta_id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS objt_meta ON objt(meta_id);
CREATE TABLE IF NOT EXISTS access(object_id INTEGER, user_id INTEGER, level INTEGER,
  PRIMARY KEY(object_id, user_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ticket(id INTEGER PRIMARY KEY, string TEXT UNIQUE, type TEXT,
  user_id INTEGER, object_id INTEGER, object_type TEXT, uses_limit INTEGER DEFAULT 0,
  uses_count INTEGER DEFAULT 0, expiry TEXT DEFAULT '', wfile_count INTEGER DEFAULT 0,
  wfile_limit INTEGER DEFAULT 10, wbyte_count INTEGER DEFAULT 0, wbyte_limit INTEGER DEFAULT 0,
  ctime TEXT, mtime TEXT);
CREATE TABLE IF NOT EXISTS ticket_limit(ticket_id INTEGER, kind TEXT, name TEXT,
  PRIMARY KEY(ticket_id, kind, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS doomed(path TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS locked(id INTEGER, repl INTEGER, status INTEGER,
  PRIMARY KEY(id, repl)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS quota(user_id INTEGER, resc_id INTEGER, lim INTEGER, over INTEGER,
  mtime TEXT);
CREATE TABLE IF NOT EXISTS quota_usage(user_id INTEGER, resc_id INTEGER, usage INTEGER,
  mtime TEXT);
CREATE TABLE IF NOT EXISTS user_auth(user_id INTEGER, dn TEXT, ctime TEXT,
  PRIMARY KEY(user_id, dn)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS temp_password(user_id INTEGER, password TEXT, expires INTEGER);
CREATE TABLE IF NOT EXISTS specific(alias TEXT, sql TEXT, ctime TEXT);
"""


def timestamp() -> str:
    """Time as the catalog stores it."""
    return f"{int(time.time()):011d}"


def split_path(path: str) -> tuple[str, str]:
    """Parent and last part of a logical path."""
    head, _, tail = path.rpartition("/")
    return head or "/", tail


def canonical_path(path: str) -> str:
    """A canonical logical path; refuses what could climb out."""
    if not path.startswith("/"):
        raise IrodsError(ErrorCode.USER_INPUT_PATH_ERR, "path is not absolute")
    parts = [p for p in path.split("/") if p not in ("", ".")]
    if ".." in parts or "\0" in path:
        raise IrodsError(ErrorCode.USER_INPUT_PATH_ERR, "bad path")
    if any(len(os.fsencode(p)) > 255 for p in parts) or len(os.fsencode(path)) > 1023:
        raise IrodsError(ErrorCode.USER_PATH_EXCEEDS_MAX, "path too long")
    return "/" + "/".join(parts)


class Catalog:
    """One SQLite file; a connection per busy thread, one writer at a time."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._local = threading.local()
        self._write = threading.RLock()
        self._pool = threading.Lock()
        self._all: list[sqlite3.Connection] = []
        self._idle: list[sqlite3.Connection] = []
        self._tree: dict[int, sqlite3.Row] = {}
        with self._write:
            self.db.execute("PRAGMA journal_mode=WAL")
            self.db.executescript(SCHEMA)
        os.chmod(file, 0o600)  # it holds passwords
        self.load_resources()

    @property
    def db(self) -> sqlite3.Connection:
        """This thread's connection, until it releases it."""
        conn: sqlite3.Connection | None = getattr(self._local, "conn", None)
        if conn is None:
            with self._pool:
                conn = self._idle.pop() if self._idle else None
            conn = self._local.conn = conn or self._connect()
            self._local.depth = 0
        return conn

    def _connect(self) -> sqlite3.Connection:
        conn = sqlite3.connect(self.file, isolation_level=None, timeout=30, check_same_thread=False)
        conn.row_factory = sqlite3.Row
        conn.execute("PRAGMA synchronous=NORMAL")
        conn.execute("PRAGMA case_sensitive_like=ON")
        conn.create_function("hier", 1, self.hierarchy)
        with self._pool:
            self._all.append(conn)
        return conn

    def release(self) -> None:
        """Leave this thread's connection to others; a thread that waits needs none."""
        conn: sqlite3.Connection | None = getattr(self._local, "conn", None)
        if conn is not None:
            self._local.conn = None
            with self._pool:
                self._idle.append(conn)

    def close(self) -> None:
        """Close every connection."""
        with self._write, self._pool:
            for conn in self._all:
                conn.close()
            self._all.clear()
            self._idle.clear()

    @contextmanager
    def transaction(self, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """A write transaction; durable ones are synced to disk before this returns.

        Nested transactions join the outer one.
        """
        with self._write:
            db = self.db
            if self._local.depth:
                yield db
                return
            db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            db.execute("BEGIN IMMEDIATE")
            self._local.depth = 1
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                db.execute("ROLLBACK")
                raise
            finally:
                self._local.depth = 0

    def one(self, sql: str, *args: Any) -> Any:
        """First row or None."""
        return self.db.execute(sql, args).fetchone()

    def rows(self, sql: str, *args: Any) -> list[Any]:
        """All rows."""
        return self.db.execute(sql, args).fetchall()

    def new_id(self, db: sqlite3.Connection) -> int:
        """The next object id; ids are never used twice."""
        row = db.execute("UPDATE seq SET n=n+1 RETURNING n").fetchone()
        if row is None:
            db.execute("INSERT INTO seq VALUES(10000)")
            return 10000
        return int(row[0])

    # resources

    def load_resources(self) -> None:
        """Read the resource tree again after it changed."""
        self._tree = {r["id"]: r for r in self.rows("SELECT * FROM resc")}

    @property
    def resources(self) -> dict[int, sqlite3.Row]:
        """All resources by id."""
        return self._tree

    def hierarchy(self, resc_id: int) -> str:
        """The resource hierarchy as root;child;leaf."""
        names: list[str] = []
        row = self._tree.get(int(resc_id or 0))
        while row is not None and len(names) < 32:
            names.append(row["name"])
            row = self._tree.get(int(row["parent"] or 0))
        return ";".join(reversed(names))

    def resource(self, name: str) -> sqlite3.Row:
        """A resource by name."""
        for row in self._tree.values():
            if row["name"] == name:
                return row
        raise IrodsError(ErrorCode.SYS_RESC_DOES_NOT_EXIST, f"no resource {name}")

    def children(self, resc_id: int) -> list[sqlite3.Row]:
        """Direct children of a resource."""
        return [r for r in self._tree.values() if r["parent"] == str(resc_id)]

    # names

    def collection(self, path: str) -> Any:
        """A collection row or None."""
        return self.one("SELECT * FROM coll WHERE name=?", path)

    def replicas(self, path: str) -> list[Any]:
        """Replica rows of a data object, by number."""
        parent, name = split_path(path)
        return self.rows(
            "SELECT d.* FROM data d JOIN coll c ON c.id=d.coll_id"
            " WHERE c.name=? AND d.name=? ORDER BY repl", parent, name,
        )  # fmt: skip

    def user(self, name: str, zone: str) -> Any:
        """A user or group row or None."""
        return self.one("SELECT * FROM user WHERE name=? AND zone=?", name, zone)

    def access_level(self, object_id: int, user_id: int) -> int:
        """The best right of a user, his groups counted."""
        row = self.one(
            "SELECT max(level) FROM access WHERE object_id=? AND (user_id=? OR user_id IN"
            " (SELECT group_id FROM member WHERE user_id=?))", object_id, user_id, user_id,
        )  # fmt: skip
        return int(row[0] or 0)

    def add_collection(
        self, db: sqlite3.Connection, path: str, owner: str, zone: str, uid: int
    ) -> int:
        """Insert a collection with its owner's right, inheriting where asked."""
        parent, _ = split_path(path)
        cid, t = self.new_id(db), timestamp()
        above = db.execute("SELECT id, inherit FROM coll WHERE name=?", (parent,)).fetchone()
        inherit = above["inherit"] if above is not None else ""
        db.execute(
            "INSERT INTO coll(id,name,parent,owner,ozone,inherit,ctime,mtime)"
            " VALUES(?,?,?,?,?,?,?,?)", (cid, path, parent, owner, zone, inherit, t, t),
        )  # fmt: skip
        self.add_initial_access(db, cid, uid, above)
        return cid

    def add_initial_access(self, db: sqlite3.Connection, oid: int, uid: int, parent: Any) -> None:
        """Rights of a new object: its owner's, and the parent's if it passes them on."""
        if parent is not None and parent["inherit"] == "1":
            db.execute(
                "INSERT OR REPLACE INTO access SELECT ?, user_id, level FROM access"
                " WHERE object_id=?", (oid, parent["id"]),
            )  # fmt: skip
        db.execute("INSERT OR REPLACE INTO access VALUES(?,?,?)", (oid, uid, OWN))
