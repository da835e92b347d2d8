"""Child processes that never outlive the program that started them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

# Waits until the pipe from the starting program closes, however that ended, then ends the group.
_GUARD = "cat >/dev/null; kill -TERM -$0; sleep 5; kill -KILL -$0"


class ChildProcess:
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
        self._guard: subprocess.Popen[bytes] | None = None

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
        self._dismiss_guard()

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
        self._dismiss_guard()

    def _dismiss_guard(self) -> None:
        # Before its pipe closes: the group's number may be another's by then.
        if self._guard is not None:
            os.killpg(self._guard.pid, signal.SIGKILL)
            self._guard.communicate()
            self._guard = None

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
