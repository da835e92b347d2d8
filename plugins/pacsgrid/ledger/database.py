"""The one way to the ledger's database: a pool of connections per process, and transactions.

`Database` is what the rest of the package uses. It holds no connection itself: a transaction takes
one from the pool and returns it. The pool of a database is made on first use, after its schema was
brought up to date, so each process checks the schema once.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from psycopg2.errors import LockNotAvailable
from psycopg2.extensions import connection
from psycopg2.pool import ThreadedConnectionPool

from pacsgrid.errors import RetryableError
from pacsgrid.ledger.connection import LOST, Cursor, answering, connect_options
from pacsgrid.ledger.migrate import migrate

# A worker uses one connection at a time; the web page and the triggerer use more in bursts.
KEPT, MOST = 1, 32
WAIT_SECONDS = 30

Values = Sequence[Any] | Mapping[str, Any]

# The trigger that writes the audit trail reads the actor from this setting.
_SET_ACTOR = "SELECT set_config('pacsgrid.actor', %s, true)"
_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_ROWS_AT_ONCE = 1000


class _Pool:
    """Connections of this process to one database; threads share it."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._process = os.getpid()
        self._slots = threading.BoundedSemaphore(MOST)
        migrate(dsn)
        options = connect_options(dsn)
        with answering(dsn):
            self._connections = ThreadedConnectionPool(KEPT, MOST, dsn, **options)

    def take(self, first: str, values: Values = ()) -> connection:
        """Return a connection whose transaction has begun with the statement `first`.

        That statement also shows whether a pooled connection still works; one that does not is
        closed and replaced once.
        """
        if not self._slots.acquire(timeout=WAIT_SECONDS):
            raise RetryableError(f"all {MOST} connections of this process to the ledger are in use")
        try:
            return self._take(first, values, retry=True)
        except BaseException:
            self._slots.release()
            raise

    def _take(self, first: str, values: Values, retry: bool) -> connection:
        with answering(self._dsn):
            taken: connection = self._connections.getconn()
        try:
            with _translated(), taken.cursor() as opened:
                opened.execute(first, values)
        except BaseException as error:
            self._connections.putconn(taken, close=True)
            if retry and isinstance(error, RetryableError):
                return self._take(first, values, retry=False)
            raise
        return taken

    def give_back(self, taken: connection) -> None:
        """Keep a connection for the next transaction, or close it if it is broken or too many."""
        if self._process != os.getpid() or self._connections.closed:
            return
        try:
            self._connections.putconn(taken)
        finally:
            self._slots.release()

    def close(self) -> None:
        """Close every connection."""
        self._connections.closeall()


_pools: dict[str, _Pool] = {}
_pools_lock = threading.Lock()


def _pool(dsn: str) -> _Pool:
    with _pools_lock:
        if dsn not in _pools:
            _pools[dsn] = _Pool(dsn)
        return _pools[dsn]


def close_pool(dsn: str) -> None:
    """Close this process's connections to a database, also those in use.

    The next use connects and brings the schema up to date anew.
    """
    with _pools_lock:
        pool = _pools.pop(dsn, None)
    if pool is not None:
        pool.close()


def _forget_pools() -> None:
    """Make a forked child open connections of its own.

    psycopg2 does not close a connection in another process than the one that opened it, so
    dropping the parent's here leaves them intact.
    """
    global _pools_lock
    _pools_lock = threading.Lock()
    _pools.clear()


os.register_at_fork(after_in_child=_forget_pools)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except LOST as error:
        raise RetryableError(
            f"the ledger's database ended a transaction ({type(error).__name__}); try again"
        ) from None


@contextmanager
def _committing(opened: connection) -> Iterator[None]:
    """Commit the transaction at the end of the block; roll it back when an error leaves it."""
    process = os.getpid()
    try:
        with _translated():
            yield
            if process == os.getpid():
                opened.commit()
    except BaseException:
        if process == os.getpid():
            with suppress(*LOST):
                opened.rollback()
        raise


class _Thread(threading.local):
    """What a thread has open of a `Database`."""

    process = 0
    transaction: connection | None = None
    lock_holder: connection | None = None


class Database:
    """Transactions, snapshots and locks in a ledger's database, on behalf of one actor.

    Threads may share it; each has its own transaction.

    Parameters
    ----------
    dsn
        libpq connection string of the ledger.
    actor
        Written into the audit trail with every change of a study's state.
    """

    def __init__(self, dsn: str, actor: str = "") -> None:
        self._dsn = dsn
        self._actor = actor
        self._of_thread = _Thread()

    def _thread(self) -> _Thread:
        mine = self._of_thread
        if mine.process != os.getpid():  # forked: what is open belongs to the parent
            mine.process, mine.transaction, mine.lock_holder = os.getpid(), None, None
        return mine

    @contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """Yield a cursor; what is done with it is stored together, or not at all.

        Within another transaction or snapshot of the same thread, it is a part of that one.

        Raises
        ------
        RetryableError
            The database does not answer, or dropped the connection.
        """
        with self._begun(_SET_ACTOR, (self._actor,)) as opened, opened.cursor() as made:
            yield made

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let everything read in the block see one state of the database; nothing can be written.

        Raises
        ------
        RetryableError
            The database does not answer, or dropped the connection.
        """
        with self._begun(_SNAPSHOT):
            yield

    @contextmanager
    def _begun(self, first: str, values: Values = ()) -> Iterator[connection]:
        mine = self._thread()
        if mine.transaction is not None:
            yield mine.transaction
            return
        with self._connection(first, values) as opened:
            mine.transaction = opened
            try:
                with _committing(opened):
                    yield opened
            finally:
                mine.transaction = None

    @contextmanager
    def _connection(self, first: str, values: Values = ()) -> Iterator[connection]:
        """Yield a connection whose transaction has begun with `first`."""
        holder = self._thread().lock_holder
        if holder is not None:
            # Not replaced when it is lost: its locks are lost too, and the work must stop.
            with _translated(), holder.cursor() as opened:
                opened.execute(first, values)
            yield holder
            return
        pool = _pool(self._dsn)
        taken = pool.take(first, values)
        try:
            yield taken
        finally:
            pool.give_back(taken)

    def all(self, sql: str, values: Values = ()) -> list[Any]:
        """Return every row that a statement yields.

        Parameters
        ----------
        sql
            One statement, with psycopg2's placeholders.
        values
            What the placeholders stand for.

        Raises
        ------
        RetryableError
            The database does not answer, or dropped the connection.
        """
        with self.transaction() as opened:
            opened.execute(sql, values)
            return opened.fetchall()

    def run(self, sql: str, values: Values = ()) -> int:
        """Carry out a statement.

        Parameters
        ----------
        sql
            One statement, with psycopg2's placeholders.
        values
            What the placeholders stand for.

        Returns
        -------
        int
            How many rows it changed.

        Raises
        ------
        RetryableError
            The database does not answer, or dropped the connection.
        """
        with self.transaction() as opened:
            opened.execute(sql, values)
            return int(opened.rowcount)

    def stream(self, sql: str, values: Values = ()) -> Generator[Any, None, None]:
        """Yield rows as they are asked for, so that any number of them fits into memory.

        Unless a transaction is open, they come over a connection of their own, which other
        statements between two rows do not disturb.

        Parameters
        ----------
        sql
            A query, with psycopg2's placeholders.
        values
            What the placeholders stand for.

        Yields
        ------
        tuple
            One row.

        Raises
        ------
        RetryableError
            The database does not answer, or dropped the connection.
        """
        inside = self._thread().transaction
        if inside is not None:
            yield from _rows(inside, sql, values)
            return
        pool = _pool(self._dsn)
        taken = pool.take(_SNAPSHOT)
        try:
            with _committing(taken):
                yield from _rows(taken, sql, values)
        finally:
            pool.give_back(taken)

    @contextmanager
    def lock(self, name: str, seconds: float = 0) -> Iterator[bool]:
        """Try to be the only one, of all processes, that holds the lock `name`.

        Until the block ends, this thread's transactions use the connection that holds the lock. If
        it is lost, the server frees the lock, and each of them fails. The same thread may take the
        lock again within the block.

        Parameters
        ----------
        name
            Any text.
        seconds
            How long to wait for another holder.

        Yields
        ------
        bool
            Whether the lock is held.

        Raises
        ------
        RetryableError
            The database does not answer, or dropped the connection.
        """
        mine = self._thread()
        if mine.lock_holder is not None:
            with self._locked(name, seconds) as held:
                yield held
            return
        pool = _pool(self._dsn)
        holder = pool.take("SELECT 1")
        mine.lock_holder = holder
        try:
            holder.rollback()
            with self._locked(name, seconds) as held:
                yield held
        finally:
            mine.lock_holder = None
            pool.give_back(holder)

    @contextmanager
    def _locked(self, name: str, seconds: float) -> Iterator[bool]:
        held = self._try_lock(name) or (seconds > 0 and self._wait_for_lock(name, seconds))
        try:
            yield held
        finally:
            if held:
                self._unlock(name)

    def _try_lock(self, name: str) -> bool:
        ((held,),) = self.all("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (name,))
        return bool(held)

    def _wait_for_lock(self, name: str, seconds: float) -> bool:
        with self.transaction() as opened:
            milliseconds = str(int(seconds * 1000))
            opened.execute("SELECT set_config('lock_timeout', %s, true)", (milliseconds,))
            try:
                opened.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (name,))
            except LockNotAvailable:
                return False
        return True

    def _unlock(self, name: str) -> None:
        holder = self._thread().lock_holder
        try:
            self.run("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", (name,))
        except RetryableError:
            if holder is not None:
                holder.close()  # the server frees the lock


def _rows(opened: connection, sql: str, values: Values) -> Iterator[Any]:
    with opened.cursor(f"rows_{os.urandom(4).hex()}") as cursor:
        cursor.itersize = _ROWS_AT_ONCE
        cursor.execute(sql, values)
        yield from cursor


class Store:
    """Base of the classes that read and write one kind of record.

    Parameters
    ----------
    database
        Within its ``transaction()``, calls of several stores are stored together.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
