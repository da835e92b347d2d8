"""The zone's catalog: tables in SQLite, and the queries that most APIs need."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .catalog_schema import SCHEMA
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


def timestamp() -> str:
    """Return the time as the catalog stores it: seconds since 1970, 11 digits."""
    return f"{int(time.time()):011d}"


def split_path(path: str) -> tuple[str, str]:
    """Return parent and last part of a logical path."""
    head, _, tail = path.rpartition("/")
    return head or "/", tail


def canonical_path(path: str) -> str:
    """Return a logical path without empty parts; refuse relative paths, ``..`` and long names."""
    if not path.startswith("/"):
        raise IrodsError(ErrorCode.USER_INPUT_PATH_ERR, "path is not absolute")
    parts = [p for p in path.split("/") if p not in ("", ".")]
    if ".." in parts or "\0" in path:
        raise IrodsError(ErrorCode.USER_INPUT_PATH_ERR, "the path leads outside")
    if any(len(os.fsencode(p)) > 255 for p in parts) or len(os.fsencode(path)) > 1023:
        raise IrodsError(ErrorCode.USER_PATH_EXCEEDS_MAX, "path too long")
    return "/" + "/".join(parts)


class Catalog:
    """The zone's catalog: one SQLite file, a connection for each busy thread, one writer at a time.

    Parameters
    ----------
    file : Path
        The SQLite file; made if it does not exist.
    """

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
        """The thread's connection, until it calls `release`."""
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
        """Leave the thread's connection to others, because it waits for its client."""
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
        """Run a write transaction; one inside another joins it.

        Parameters
        ----------
        durable : bool
            Whether it is on the disk when this returns.

        Yields
        ------
        sqlite3.Connection
            The thread's connection.
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

    def one(self, sql: str, *args: object) -> sqlite3.Row | None:
        """Return the first row of a query, or None.

        Parameters
        ----------
        sql : str
            The query.
        *args : object
            Values of its parameters.

        Returns
        -------
        sqlite3.Row or None
            The row.
        """
        row: sqlite3.Row | None = self.db.execute(sql, args).fetchone()
        return row

    def rows(self, sql: str, *args: object) -> list[sqlite3.Row]:
        """Return all rows of a query.

        Parameters
        ----------
        sql : str
            The query.
        *args : object
            Values of its parameters.

        Returns
        -------
        list of sqlite3.Row
            The rows.
        """
        return self.db.execute(sql, args).fetchall()

    def new_id(self, db: sqlite3.Connection) -> int:
        """Return a new object id; ids are never used again."""
        row = db.execute("UPDATE seq SET n=n+1 RETURNING n").fetchone()
        if row is None:
            db.execute("INSERT INTO seq VALUES(10000)")
            return 10000
        return int(row[0])

    def load_resources(self) -> None:
        """Read the resources again after they changed."""
        self._tree = {r["id"]: r for r in self.rows("SELECT * FROM resc")}

    @property
    def resources(self) -> dict[int, sqlite3.Row]:
        """All resources by id."""
        return self._tree

    def hierarchy(self, resc_id: int) -> str:
        """Return the hierarchy that a resource is in, from its root, separated by semicolons."""
        names: list[str] = []
        row = self._tree.get(int(resc_id or 0))
        while row is not None and len(names) < 32:
            names.append(row["name"])
            row = self._tree.get(int(row["parent"] or 0))
        return ";".join(reversed(names))

    def resource(self, name: str) -> sqlite3.Row:
        """Return a resource by name; raise SYS_RESC_DOES_NOT_EXIST if there is none."""
        for row in self._tree.values():
            if row["name"] == name:
                return row
        raise IrodsError(ErrorCode.SYS_RESC_DOES_NOT_EXIST, f"no resource {name}")

    def children(self, resc_id: int) -> list[sqlite3.Row]:
        """Return the children of a resource."""
        return [r for r in self._tree.values() if r["parent"] == str(resc_id)]

    def collection(self, path: str) -> sqlite3.Row | None:
        """Return a collection's row, or None."""
        return self.one("SELECT * FROM coll WHERE name=?", path)

    def replicas(self, path: str) -> list[sqlite3.Row]:
        """Return the replicas of a data object by number; none if it does not exist."""
        parent, name = split_path(path)
        return self.rows(
            "SELECT d.* FROM data d JOIN coll c ON c.id=d.coll_id"
            " WHERE c.name=? AND d.name=? ORDER BY repl", parent, name,
        )  # fmt: skip

    def user(self, name: str, zone: str) -> sqlite3.Row | None:
        """Return the row of a user or group, or None.

        Parameters
        ----------
        name, zone : str
            Name and zone.

        Returns
        -------
        sqlite3.Row or None
            The user or group.
        """
        return self.one("SELECT * FROM user WHERE name=? AND zone=?", name, zone)

    def access_level(self, object_id: int, user_id: int) -> int:
        """Return the highest access level that a user and the user's groups have on an object.

        Parameters
        ----------
        object_id, user_id : int
            The object and the user.

        Returns
        -------
        int
            The level; 0 without access.
        """
        row = self.one(
            "SELECT max(level) FROM access WHERE object_id=? AND (user_id=? OR user_id IN"
            " (SELECT group_id FROM member WHERE user_id=?))", object_id, user_id, user_id,
        )  # fmt: skip
        return int(row[0] or 0) if row is not None else 0

    def add_collection(
        self, db: sqlite3.Connection, path: str, owner: str, zone: str, user_id: int
    ) -> int:
        """Insert a collection with its initial access.

        Parameters
        ----------
        db : sqlite3.Connection
            The open transaction.
        path : str
            Logical path.
        owner, zone : str
            Name and zone of the owner.
        user_id : int
            Id of the owner.

        Returns
        -------
        int
            Id of the collection.
        """
        parent, _ = split_path(path)
        coll_id, t = self.new_id(db), timestamp()
        above = db.execute("SELECT id, inherit FROM coll WHERE name=?", (parent,)).fetchone()
        inherit = above["inherit"] if above is not None else ""
        db.execute(
            "INSERT INTO coll(id,name,parent,owner,ozone,inherit,ctime,mtime)"
            " VALUES(?,?,?,?,?,?,?,?)", (coll_id, path, parent, owner, zone, inherit, t, t),
        )  # fmt: skip
        self.add_initial_access(db, coll_id, user_id, above)
        return coll_id

    def add_initial_access(
        self, db: sqlite3.Connection, object_id: int, user_id: int, parent: sqlite3.Row | None
    ) -> None:
        """Grant access to a new object: its owner's, and its collection's if that is inherited.

        Parameters
        ----------
        db : sqlite3.Connection
            The open transaction.
        object_id : int
            The new object.
        user_id : int
            Its owner.
        parent : sqlite3.Row or None
            Its collection.
        """
        if parent is not None and parent["inherit"] == "1":
            db.execute(
                "INSERT OR REPLACE INTO access SELECT ?, user_id, level FROM access"
                " WHERE object_id=?", (object_id, parent["id"]),
            )  # fmt: skip
        db.execute("INSERT OR REPLACE INTO access VALUES(?,?,?)", (object_id, user_id, OWN))
