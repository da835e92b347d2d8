"""Work around two races of pynetdicom 3.0 with peers that answer at once.

Before it sends a request, pynetdicom pauses the association's reactor thread, but takes it for
paused slightly too early. A reactor that is just passing its checkpoint may then take the answer
from the queue and drop it, and the request waits until it times out: about once in ten thousand
requests. And a rejection that arrives before the requestor checks its connection is reported as an
unreachable peer.

Both are worked around for associations that this side requests, with the versions of pynetdicom
that need it. ``tests/dimse/test_reactor.py`` fails when a version no longer needs it.
"""

from __future__ import annotations

import re
import threading

import pynetdicom
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ASSOCIATE

FIRST_AFFECTED_VERSION, LAST_AFFECTED_VERSION = (3, 0, 0), (3, 0, 4)


def is_affected(version: str) -> bool:
    """Return whether a version of pynetdicom has the races."""
    numbers = [int(one) for one in re.findall(r"\d+", version)[:3]]
    release = tuple(numbers + [0] * (3 - len(numbers)))
    return FIRST_AFFECTED_VERSION <= release <= LAST_AFFECTED_VERSION


class _Checkpoint:
    """Replaces the event on which an association's reactor waits while a request is under way."""

    def __init__(self, reactor: threading.Thread) -> None:
        self._reactor = reactor
        self._changed = threading.Condition()
        self._open, self._waiting = True, False

    def set(self) -> None:
        """Let the reactor continue."""
        with self._changed:
            self._open = True
            self._changed.notify_all()

    def clear(self) -> None:
        """Stop the reactor; return when it has stopped."""
        with self._changed:
            self._open = False
            while not self._waiting and self._runs_in_another_thread():
                self._changed.wait(0.1)

    def _runs_in_another_thread(self) -> bool:
        return self._reactor.is_alive() and threading.current_thread() is not self._reactor

    def wait(self) -> None:
        """Wait, in the reactor, until it may continue."""
        with self._changed:
            while not self._open:
                self._waiting = True
                self._changed.notify_all()
                self._changed.wait()
            self._waiting = False


def work_around_races(association: Association) -> None:
    """Apply the workarounds to an association that was just requested.

    Its reactor no longer takes answers, and `is_rejected` tells of a rejection that came early.
    Does nothing with a version of pynetdicom that has no such races.
    """
    if not is_affected(pynetdicom.__version__):
        return
    association._reactor_checkpoint = _Checkpoint(association)  # type: ignore[assignment]
    if association.is_established or association.is_rejected:
        return
    late = association.dul.receive_pdu()
    if isinstance(late, A_ASSOCIATE) and late.result in (1, 2):
        association.acceptor.primitive = late
        association.is_rejected, association.is_aborted = True, False
