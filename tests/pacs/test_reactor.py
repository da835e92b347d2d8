"""The races of pynetdicom that are mended, each where it happens."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any, cast

from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification

from pacsgrid.pacs.reactor import settle
from support.receiving import RunningReceiver
from support.waiting import wait_until


class Looking(threading.Thread):
    """A reactor as pynetdicom's: waits, looks, waits again."""

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
    settle(cast(Any, reactor))
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
    settle(cast(Any, never_started))
    never_started._reactor_checkpoint.clear()

    class Asking(Looking):
        def run(self) -> None:
            self._reactor_checkpoint.clear()

    itself = Asking()
    settle(cast(Any, itself))
    itself.start()
    itself.join(10)
    assert not itself.is_alive()


def test_a_rejection_that_comes_at_once_is_one(tmp_path: Path) -> None:
    def late(event: evt.Event) -> None:
        # Connected, rejected and closed before who asked looks.
        dul = event.assoc.dul
        wait_until(
            lambda: not dul.to_user_queue.empty() and dul.state_machine.current_state == "Sta1"
        )

    with RunningReceiver(tmp_path) as receiver:
        entity = AE(ae_title="STRANGER")
        entity.add_requested_context(Verification)
        where = ("127.0.0.1", receiver.port)
        handlers = [(evt.EVT_REQUESTED, late)]
        association = entity.associate(*where, ae_title="PACSGRID", evt_handlers=handlers)
        assert not association.is_rejected  # as pynetdicom has it; mended there, this can go
        settle(association)
        assert association.is_rejected and not association.is_aborted
        assert association.acceptor.primitive.diagnostic == 3
