"""The races of pynetdicom that are worked around, and whether it still has them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pynetdicom
import pytest
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import Verification

from pacsgrid.dimse.reactor import _Checkpoint, is_affected, work_around_races
from support.waiting import wait_until

LIMIT = 10.0  # seconds for what takes milliseconds


@contextmanager
def node(*calling: str) -> Iterator[tuple[str, int]]:
    """Serve C-ECHO to these AE titles, to any if none are given."""
    entity = AE(ae_title="NODE")
    entity.add_supported_context(Verification)
    entity.require_calling_aet = list(calling)
    server = entity.start_server(("127.0.0.1", 0), block=False)
    yield server.socket.getsockname()
    server.shutdown()


def associate(where: tuple[str, int], *handlers: Any) -> Association:
    entity = AE(ae_title="STRANGER")
    entity.add_requested_context(Verification)
    entity.dimse_timeout = 1  # how long a lost answer is waited for
    return entity.associate(*where, evt_handlers=list(handlers))


class Held:
    """Halts a reactor just after it passed its checkpoint, as a busy machine may at any time."""

    reactor: threading.Thread

    def hold_in(self, reactor: threading.Thread, seconds: float) -> None:
        self.reactor, self.seconds = reactor, seconds
        self.passed, self.released = threading.Event(), threading.Event()

    def wait(self, timeout: float | None = None) -> None:
        super().wait()  # type: ignore[misc]
        if threading.current_thread() is self.reactor and not self.released.is_set():
            self.passed.set()
            self.released.wait(self.seconds)
            self.released.set()


class HeldEvent(Held, threading.Event):
    pass


class HeldCheckpoint(Held, _Checkpoint):
    pass


def loses_the_answer(checkpoint: Callable[[threading.Thread], Any], seconds: float) -> bool:
    """Whether a reactor that has just passed its checkpoint drops the answer to a C-ECHO."""
    with node() as where:
        association = associate(where)
        assert association.is_established
        held = checkpoint(association)
        held.hold_in(association, seconds)
        association._reactor_checkpoint = held
        assert held.passed.wait(LIMIT)
        answers = association.dimse.msg_queue
        send = association.dimse.send_msg

        def send_and_wait(*given: Any) -> None:
            """Return when the answer has come, and the reactor has gone on."""
            send(*given)
            wait_until(lambda: not answers.empty(), LIMIT)
            if not held.released.is_set():
                held.released.set()
                wait_until(answers.empty, LIMIT)

        association.dimse.send_msg = send_and_wait
        lost = "Status" not in association.send_c_echo()
        association.abort()
        return lost


def has_lost_answers() -> bool:
    def event(reactor: threading.Thread) -> HeldEvent:
        made = HeldEvent()
        made.set()
        return made

    return loses_the_answer(event, LIMIT)


def reject_early() -> Association:
    """Return an association whose rejection comes before the requestor looks."""

    def wait(event: evt.Event) -> None:
        connection = event.assoc.dul.socket
        assert connection._ready.wait(LIMIT)
        wait_until(lambda: not connection._is_connected, LIMIT)

    with node("FRIEND") as where:
        return associate(where, (evt.EVT_REQUESTED, wait))


def has_missed_rejections() -> bool:
    return not reject_early().is_rejected


@pytest.mark.parametrize("occurs", [has_lost_answers, has_missed_rejections])
def test_pynetdicom_still_has_the_races(occurs: Callable[[], bool]) -> None:
    version = pynetdicom.__version__
    if not occurs():
        pytest.fail(
            f"pynetdicom {version} no longer {occurs.__name__}: remove the workaround, and with "
            "the last one pacsgrid/dimse/reactor.py; then require this version"
        )
    if not is_affected(version):
        pytest.fail(f"pynetdicom {version} still {occurs.__name__}: raise LAST_AFFECTED_VERSION")


def test_no_answer_is_lost_with_the_workaround() -> None:
    assert not loses_the_answer(HeldCheckpoint, 0.2)


def test_an_early_rejection_is_one_with_the_workaround() -> None:
    association = reject_early()
    work_around_races(association)
    assert association.is_rejected and not association.is_aborted
    assert association.acceptor.primitive.diagnostic == 3


@pytest.mark.parametrize(
    ("version", "affected"),
    [("2.1.1", False), ("3.0", True), ("3.0.4", True), ("3.0.5", False), ("3.1.0.dev0", False)],
)
def test_only_versions_with_the_races_are_changed(
    version: str, affected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_affected(version) is affected
    monkeypatch.setattr(pynetdicom, "__version__", version)
    with node() as where:
        association = associate(where)
        before = association._reactor_checkpoint
        work_around_races(association)
        assert (association._reactor_checkpoint is before) is not affected
        assert association.send_c_echo().Status == 0
        association.release()


class Looking(threading.Thread):
    """A reactor like pynetdicom's: it waits at its checkpoint, looks, and waits again."""

    is_established = True

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._reactor_checkpoint: Any = None
        self.over = False
        self.looks = 0

    def run(self) -> None:
        while not self.over:
            self._reactor_checkpoint.wait()
            self.looks += 1


def test_a_paused_reactor_looks_at_nothing() -> None:
    reactor = Looking()
    work_around_races(cast(Any, reactor))
    # The threads change places as often as they can.
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    reactor.start()
    try:
        for _ in range(20_000):
            reactor._reactor_checkpoint.clear()
            seen = reactor.looks
            for _ in range(20):
                assert reactor.looks == seen
            reactor._reactor_checkpoint.set()
    finally:
        reactor.over = True
        reactor._reactor_checkpoint.set()
        sys.setswitchinterval(before)
    reactor.join(10)
    assert reactor.looks > 0


def test_a_reactor_that_ended_or_asks_itself_is_not_waited_for() -> None:
    never_started = Looking()
    work_around_races(cast(Any, never_started))
    never_started._reactor_checkpoint.clear()

    class Asking(Looking):
        def run(self) -> None:
            self._reactor_checkpoint.clear()

    itself = Asking()
    work_around_races(cast(Any, itself))
    itself.start()
    itself.join(10)
    assert not itself.is_alive()
