"""The pool: one per process, safe to fork, repaired when a connection breaks; and snapshots."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from pacsgrid.errors import ConfigError, RetryableError
from pacsgrid.ledger import Ledger, Overview
from pacsgrid.ledger import database as pools
from pacsgrid.ledger.connection import connect
from pacsgrid.model import AnonymisedInstance, ReplicaProof, StudyState

INSTANCE = AnonymisedInstance("1", "2", "3", "S1", "CT", "4", "ab" * 32, 10, Path("x"))


def _backend(ledger: Ledger) -> int:
    """The server's process that a transaction of this process uses now."""
    ((process,),) = ledger.database.all("SELECT pg_backend_pid()")
    return int(process)


def _connections(dsn: str) -> set[int]:
    """The server's processes of all connections to the database but the one that asks."""
    with closing(connect(dsn)) as opened, opened.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return {process for (process,) in cursor.fetchall()}


def _terminate(dsn: str, process: int) -> None:
    with closing(connect(dsn)) as opened, opened.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 10000)", (process,))
        assert cursor.fetchone() == (True,)


def test_a_study_is_processed_and_told_over_one_connection(ledger: Ledger, dsn: str) -> None:
    with ledger.studies.lock("a") as ours:
        assert ours
        ledger.instances.add("a", [INSTANCE])
        ledger.proofs.add("a", [ReplicaProof("3", "brno", "disk", 0, "ab", True)])
        ledger.studies.hold("a", "conflict", "for the test")
        ledger.audit.add_access("anna", "a", "picture 0")
        other = Ledger(dsn)
        other.audit.add_decision("a", "again", "anna", "for the test")
        assert len(_connections(dsn)) == 2  # the lock's, and the other ledger's
    story = Overview(dsn, ["demo"]).story("a")
    assert story is not None
    assert (story.study.state, len(story.held), len(story.decisions)) == (StudyState.HELD, 1, 1)
    assert len(_connections(dsn)) == 1


def test_the_schema_is_checked_once_per_process(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    migrate = pools.migrate
    monkeypatch.setattr(pools, "migrate", lambda dsn: checked.append(dsn) or migrate(dsn))
    for _ in range(3):
        Ledger(dsn).studies.find()
        Overview(dsn, ["demo"]).states()
    assert checked == [dsn]


def test_threads_share_the_pool_and_one_connection_is_kept(ledger: Ledger, dsn: str) -> None:
    together = threading.Barrier(8, timeout=60)

    def read(_: int) -> int:
        with ledger.database.transaction() as cursor:
            together.wait()
            cursor.execute("SELECT pg_backend_pid()")
            return int((cursor.fetchone() or (0,))[0])

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(read, range(8)))) == 8
    assert len(_connections(dsn)) == pools.KEPT


def test_a_broken_connection_is_replaced(ledger: Ledger, dsn: str) -> None:
    broken = _backend(ledger)
    assert _backend(ledger) == broken
    _terminate(dsn, broken)
    ledger.studies.advance("a", StudyState.RETRIEVED)
    assert _backend(ledger) != broken
    assert [change.actor for change in ledger.audit.changes("a")] == ["tester", "tester"]


def test_a_transaction_that_is_cut_off_is_not_stored(ledger: Ledger, dsn: str) -> None:
    with pytest.raises(RetryableError, match="try again"), ledger.database.transaction():
        ledger.studies.advance("a", StudyState.RETRIEVED)
        _terminate(dsn, _backend(ledger))
        ledger.studies.advance("a", StudyState.ANONYMISED)
    assert ledger.studies.state("a") is StudyState.FOUND


def test_work_stops_when_its_lock_is_lost(ledger: Ledger, dsn: str) -> None:
    with ledger.studies.lock("a") as ours, ledger.studies.lock("a") as again:
        assert ours and again
        _terminate(dsn, _backend(ledger))
        with Ledger(dsn).studies.lock("a") as theirs:
            assert theirs
            for _ in range(2):
                with pytest.raises(RetryableError):
                    ledger.studies.advance("a", StudyState.RETRIEVED)
    ledger.studies.advance("a", StudyState.RETRIEVED)
    with Ledger(dsn).studies.lock("a") as free:
        assert free


def test_a_pool_that_is_closed_in_use_is_opened_anew(ledger: Ledger, dsn: str) -> None:
    with pytest.raises(RetryableError), ledger.database.transaction():
        pools.close_pool(dsn)
        ledger.studies.advance("a", StudyState.RETRIEVED)
    assert _connections(dsn) == set()
    assert ledger.studies.state("a") is StudyState.FOUND


def test_several_calls_are_one_transaction(ledger: Ledger) -> None:
    with pytest.raises(ZeroDivisionError), ledger.database.transaction():
        ledger.studies.advance("a", StudyState.RETRIEVED)
        ledger.instances.add("a", [INSTANCE])
        assert ledger.studies.state("a") is StudyState.RETRIEVED
        raise ZeroDivisionError
    assert ledger.studies.state("a") is StudyState.FOUND
    assert ledger.instances.of_study("a") == []


def test_a_snapshot_does_not_see_what_is_written_meanwhile(ledger: Ledger, dsn: str) -> None:
    view, other = Overview(dsn, ["demo"]), Ledger(dsn)
    with view.snapshot():
        before = view.states()
        with ThreadPoolExecutor(1) as elsewhere:
            elsewhere.submit(other.studies.hold, "a", "conflict", "for the test").result()
        assert view.states() == before
        assert view.held() == [] and view.held_reasons() == {}
        story = view.story("a")
        assert story is not None and story.study.state is StudyState.FOUND
    assert [held.ref for held in view.held()] == ["a"]
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction), ledger.database.snapshot():
        ledger.studies.unhold("a")


def test_rows_are_streamed_while_others_are_written(ledger: Ledger) -> None:
    for number in range(5):
        ledger.studies.add_found(f"b{number}", "demo", "pacs", "hash", b"")
    for (ref,) in ledger.database.stream("SELECT ref FROM pacsgrid.study ORDER BY ref"):
        ledger.studies.advance(ref, StudyState.RETRIEVED)
    assert ledger.studies.count_by_state("demo") == {"retrieved": 6}


def test_a_forked_child_has_connections_of_its_own(ledger: Ledger, dsn: str) -> None:
    with ledger.studies.lock("a") as ours:
        assert ours
        mine = _backend(ledger)
        read, write = os.pipe()
        if not (child := os.fork()):
            try:
                with Ledger(dsn).studies.lock("a") as theirs:
                    told = f"{_backend(ledger)} {theirs}"
                ledger.studies.add_found("b", "demo", "pacs", "hash", b"")
                os.write(write, told.encode())
            finally:
                os._exit(0)
        os.close(write)
        with open(read) as pipe:
            process, theirs = pipe.read().split()
        os.waitpid(child, 0)
        assert int(process) != mine and theirs == "False"
        # The child's end has not closed the parent's connection.
        assert _backend(ledger) == mine
        assert ledger.studies.state("b") is StudyState.FOUND
        with Ledger(dsn).studies.lock("a") as other:
            assert not other


def test_a_database_that_does_not_answer_is_named_without_its_password() -> None:
    with pytest.raises(RetryableError, match="database nowhere on localhost") as caught:
        Ledger("host=localhost port=1 dbname=nowhere password=s3cret").studies.find()
    assert "s3cret" not in str(caught.value)
    with pytest.raises(ConfigError) as wrong:
        Ledger("password s3cret").studies.find()
    assert "s3cret" not in str(wrong.value)
