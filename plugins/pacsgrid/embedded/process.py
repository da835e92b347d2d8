"""Child processes that never outlive the program that started them, even when it is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

# Waits until the pipe from the starting program closes, which it does however that program ends,
# then ends the process group.
_GUARD = "cat >/dev/null; kill -TERM -$0; sleep 5; kill -KILL -$0"


class ChildProcess:
    """A process in its own process group, which writes to a log file.

    Parameters
    ----------
    name
        Its name in error messages.
    command
        The program and its arguments.
    log
        File that its output is appended to.
    env
        Its whole environment; by default this process's.
    owner
        Arguments ``user``, ``group`` and ``extra_groups`` of `subprocess.Popen`, to run it as
        another user.
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
        self._guard: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process, and a guard that ends it when this program ends."""
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self._env,
                start_new_session=True,
                cwd="/" if self._owner else None,
                **self._owner,
            )

        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, str(self._process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Its process id; 0 before the start."""
        return self._process.pid if self._process else 0

    @property
    def running(self) -> bool:
        """Whether it is running."""
        return self._process is not None and self._process.poll() is None

    def wait_ready(self, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until the process is ready.

        Parameters
        ----------
        ready
            Returns whether it is; called five times per second.
        seconds
            How long to wait.

        Raises
        ------
        RuntimeError
            The process ended, or is not ready in time. The message names its log.
        """
        until = time.monotonic() + seconds
        while not ready():
            if not self.running:
                raise RuntimeError(f"{self.name} ended while starting; see {self.log}")
            if time.monotonic() > until:
                raise RuntimeError(
                    f"{self.name} is not ready after {seconds:.0f} s; see {self.log}"
                )
            time.sleep(0.2)

    def kill(self) -> None:
        """Kill the process and its group without warning, as a power cut would."""
        self._signal(signal.SIGKILL)
        if self._process:
            self._process.wait()
        self._dismiss_guard()

    def stop(self, seconds: float = 15, signal_number: int = signal.SIGTERM) -> None:
        """Ask the process to end, then kill what is left of its group.

        Parameters
        ----------
        seconds
            How long the process may take to end.
        signal_number
            The signal that asks it to.
        """
        if self._process is None:
            return
        # To the process alone: it ends its own children in order.
        self._process.send_signal(signal_number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._dismiss_guard()

    def _dismiss_guard(self) -> None:
        # Kill the guard before its pipe closes: the id of the ended group may be reused by then.
        if self._guard is not None:
            os.killpg(self._guard.pid, signal.SIGKILL)
            self._guard.communicate()
            self._guard = None

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
