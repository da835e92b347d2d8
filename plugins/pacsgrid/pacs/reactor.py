"""Two races of pynetdicom 3.0 with peers that answer at once, mended for associations we request.

It says that its reactor pauses a moment before it does. A request that is sent in that moment may
have its answer taken and dropped by the reactor, and waits until its time is up: once in some ten
thousand requests. And a rejection that is there before it looks whether it is connected is taken
for a peer that is not there.
"""

from __future__ import annotations

import threading

from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ASSOCIATE


class _Pause:
    """Stands in for the event on which the reactor of an association waits."""

    def __init__(self, reactor: threading.Thread) -> None:
        self._reactor = reactor
        self._changed = threading.Condition()
        self._open, self._resting = True, False

    def set(self) -> None:
        """Let the reactor go on."""
        with self._changed:
            self._open = True
            self._changed.notify_all()

    def clear(self) -> None:
        """Stop the reactor; returns when it has stopped."""
        with self._changed:
            self._open = False
            while not self._resting and self._runs_beside():
                self._changed.wait(0.1)

    def _runs_beside(self) -> bool:
        return self._reactor.is_alive() and threading.current_thread() is not self._reactor

    def wait(self) -> None:
        """In the reactor: go on when it may."""
        with self._changed:
            while not self._open:
                self._resting = True
                self._changed.notify_all()
                self._changed.wait()
            self._resting = False


def settle(association: Association) -> None:
    """Make an association wait for its answers without its reactor, and tell if it was rejected."""
    association._reactor_checkpoint = _Pause(association)  # type: ignore[assignment]
    if association.is_established or association.is_rejected:
        return
    late = association.dul.receive_pdu()
    if isinstance(late, A_ASSOCIATE) and late.result in (1, 2):
        association.acceptor.primitive = late
        association.is_rejected, association.is_aborted = True, False
