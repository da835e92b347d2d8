"""Consent from a file (CSV) that the hospital writes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from pacsgrid.errors import ConfigError, RegisterUnavailableError
from pacsgrid.registers.consent import (
    Answer,
    ConsentAnswer,
    ConsentPatient,
    combine,
    holds_today,
)
from pacsgrid.registers.table_file import ISSUER, PATIENT_ID, read_rows

CONSENT, UNTIL = "consent", "until"


class ConsentFile:
    """A table of who consents; it is read again when it has changed.

    Parameters
    ----------
    where
        The section of the site file that names it, for messages.
    file
        The table.
    """

    def __init__(self, where: str, file: Path) -> None:
        self._where, self._file = where, file
        self._read: tuple[int, int, int] | None = None
        self._rows: dict[tuple[str, str], tuple[Answer, date | None]] = {}
        self._issuers: dict[str, set[str]] = {}

    def ask(self, patients: Sequence[ConsentPatient]) -> list[ConsentAnswer]:
        """Return the answer for each patient, see `ConsentSource`."""
        self._refresh()
        today = date.today()
        return [self._one(patient, today) for patient in patients]

    def changes(self, state: str) -> tuple[str, list[ConsentPatient] | None]:
        """Return everybody if the file has changed, else nobody; see `ConsentSource`."""
        try:
            with self._file.open("rb") as stream:
                now = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise self._unusable(f"{self._file}: {error.strerror}") from None
        return now, [] if now == state else None

    def ping(self) -> None:
        """Return if the table can be read and is right, see `ConsentSource`."""
        self._refresh()

    def close(self) -> None:
        """Do nothing: nothing is kept open."""

    def _one(self, patient: ConsentPatient, today: date) -> ConsentAnswer:
        issuers = (
            self._issuers.get(patient.patient_id, set())
            if patient.issuer is None
            else {patient.issuer}
        )
        known = [
            holds_today(*self._rows[issuer, patient.patient_id], today)
            for issuer in issuers
            if (issuer, patient.patient_id) in self._rows
        ]
        return combine(known)

    def _refresh(self) -> None:
        try:
            seen = self._file.stat()
            version = (seen.st_mtime_ns, seen.st_size, seen.st_ino)
            if version != self._read:
                self._rows = _read(self._file)
                self._issuers = {}
                for issuer, patient_id in self._rows:
                    self._issuers.setdefault(patient_id, set()).add(issuer)
                self._read = version
        except OSError as error:
            raise self._unusable(f"{self._file}: {error.strerror}") from None
        except ConfigError as error:
            raise self._unusable(str(error)) from None

    def _unusable(self, what: str) -> RegisterUnavailableError:
        return RegisterUnavailableError(f"{self._where}: {what}; asked again later")


def _read(file: Path) -> dict[tuple[str, str], tuple[Answer, date | None]]:
    rows: dict[tuple[str, str], tuple[Answer, date | None]] = {}
    lines: dict[tuple[str, str], int] = {}
    for line, values in read_rows(file, (PATIENT_ID, CONSENT), (ISSUER, UNTIL)):
        answer = values[CONSENT].lower()
        if answer not in (Answer.YES, Answer.NO):
            raise ConfigError(f"{file}, line {line}: consent must be yes or no")
        key = values[ISSUER], values[PATIENT_ID]
        row = Answer(answer), _day(file, line, values[UNTIL])
        if rows.setdefault(key, row) != row:
            raise ConfigError(
                f"{file}, line {line}: line {lines[key]} says otherwise of the same patient"
            )
        lines.setdefault(key, line)
    return rows


def _day(file: Path, line: int, text: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"{file}, line {line}: until must be a day as 2027-12-31 (ISO 8601)"
        ) from None
