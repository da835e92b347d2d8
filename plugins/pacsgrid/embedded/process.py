"""Child processes that never outlive the program that started them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    # SIGTERM lets the child stop its own children; a kill -9 of the parent is covered too.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Child:
    """One process in its own process group, its output in a log file.

    Parameters
    ----------
    name, command, log, env
        What it is called, what is run, where its output goes, its whole environment.
    owner
        `subprocess.Popen`'s user, group and extra_groups, when it runs as another user.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        env: Mapping[str, str] | None = None,
        owner: Mapping[str, Any] | None = None,
    ) -> None:
        self.name, self.log = name, log
        self._owner = dict(owner or {})
        self._command, self._env = list(command), dict(env or os.environ)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self._env,
                start_new_session=True,
                preexec_fn=_die_with_parent,
                cwd="/" if self._owner else None,
                **self._owner,
            )

    @property
    def pid(self) -> int:
        """The process id; 0 before the start."""
        return self._process.pid if self._process else 0

    @property
    def running(self) -> bool:
        """Whether it still runs."""
        return self._process is not None and self._process.poll() is None

    def wait_ready(self, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until `ready`; raises RuntimeError naming the log when it ends or takes too long."""
        until = time.monotonic() + seconds
        while not ready():
            if not self.running:
                raise RuntimeError(f"{self.name} ended at its start; see {self.log}")
            if time.monotonic() > until:
                raise RuntimeError(f"{self.name} not ready after {seconds:.0f} s; see {self.log}")
            time.sleep(0.2)

    def kill(self) -> None:
        """End it and its whole group at once, as a power cut would."""
        self._signal(signal.SIGKILL)
        if self._process:
            self._process.wait()

    def stop(self, seconds: float = 15, signal_number: int = signal.SIGTERM) -> None:
        """Ask it to end, and end the whole group when it does not."""
        if self._process is None:
            return
        # Its children are its own to stop; the group gets what is left.
        self._process.send_signal(signal_number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def free_port() -> int:
    """Return a TCP port of the loopback interface that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepts(port: int) -> bool:
    """Return whether something accepts connections on a loopback port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
