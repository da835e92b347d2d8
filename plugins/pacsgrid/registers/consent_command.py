"""Consent from a command of the site.

It reads one JSON object a line, ``{"patient_id": "...", "issuer": "..."}`` (`issuer` is null where
it is not known), and writes one for each, in their order: ``{"consent": "yes", "until":
"2027-12-31"}``. Whom it is asked for stands in its input alone, never among its arguments, which
every user of the machine can read.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from datetime import date

from pacsgrid.errors import RegisterUnavailableError
from pacsgrid.registers.consent import Answer, ConsentAnswer, ConsentPatient, holds_today


class ConsentCommand:
    """A command that says who consents.

    Parameters
    ----------
    where
        The section of the site file that names it, for messages.
    command
        Program and arguments.
    seconds
        How long it may take.
    """

    def __init__(self, where: str, command: Sequence[str], seconds: float) -> None:
        self._where, self._command, self._seconds = where, list(command), seconds

    def ask(self, patients: Sequence[ConsentPatient]) -> list[ConsentAnswer]:
        """Return the answer for each patient, see `ConsentSource`."""
        if not patients:
            return []
        asked = "".join(
            json.dumps({"patient_id": one.patient_id, "issuer": one.issuer}) + "\n"
            for one in patients
        )
        try:
            done = subprocess.run(
                self._command,
                input=asked.encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # it may name patients
                timeout=self._seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise self._unusable(f"did not end within {self._seconds:.0f} s") from None
        except OSError as error:
            raise self._unusable(f"cannot be run: {error.strerror}") from None
        if done.returncode:
            raise self._unusable(f"ended with status {done.returncode}")
        lines = done.stdout.splitlines()
        if len(lines) != len(patients):
            raise self._unusable(f"answered {len(lines)} of {len(patients)} lines")
        today = date.today()
        return [self._answer(n, line, today) for n, line in enumerate(lines, 1)]

    def changes(self, state: str) -> tuple[str, list[ConsentPatient] | None]:
        """Return nobody: a command cannot tell what has changed; see `ConsentSource`."""
        return state, []

    def ping(self) -> None:
        """Return if there is such a program, see `ConsentSource`."""
        if shutil.which(self._command[0]) is None:
            raise self._unusable("is not there, or this account may not run it")

    def close(self) -> None:
        """Do nothing: the command runs once for each question."""

    def _answer(self, number: int, line: bytes, today: date) -> ConsentAnswer:
        try:
            told = json.loads(line)
            until = date.fromisoformat(told["until"]) if told.get("until") else None
            return holds_today(Answer(told["consent"]), until, today)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise self._unusable(
                f"wrote a line {number} that is not {{'consent': yes, no or unknown, 'until': a "
                "day or nothing}"
            ) from None

    def _unusable(self, what: str) -> RegisterUnavailableError:
        return RegisterUnavailableError(f"{self._where}: the command {what}; asked again later")
