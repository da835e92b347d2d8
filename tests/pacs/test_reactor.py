"""The pause of pynetdicom's reactor, against a reactor that does nothing but look."""

from __future__ import annotations

import sys
import threading
from typing import Any, cast

from pacsgrid.pacs.reactor import pause_truly


class Looking(threading.Thread):
    """A reactor as pynetdicom's: waits, looks, waits again."""

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
    pause_truly(cast(Any, reactor))
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
    pause_truly(cast(Any, never_started))
    never_started._reactor_checkpoint.clear()

    def ask() -> None:
        itself._reactor_checkpoint.clear()  # type: ignore[attr-defined]

    itself = threading.Thread(target=ask, daemon=True)
    pause_truly(cast(Any, itself))
    itself.start()
    itself.join(10)
    assert not itself.is_alive()
