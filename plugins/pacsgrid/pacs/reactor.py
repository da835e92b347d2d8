"""A pause of pynetdicom's reactor that is one.

pynetdicom 3.0 says that its reactor pauses a moment before it does. A request that is sent in that
moment may have its answer taken and dropped by the reactor, and waits until its time is up: once
in some ten thousand requests to a peer that answers at once.
"""

from __future__ import annotations

import threading

from pynetdicom.association import Association


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


def pause_truly(association: Association) -> None:
    """Make an association that was requested wait for its answers without its reactor."""
    association._reactor_checkpoint = _Pause(association)  # type: ignore[assignment]
