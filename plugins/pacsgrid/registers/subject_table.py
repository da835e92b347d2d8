"""Tables of subjects: which pseudonym, and which date shift, a study gave each patient."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pacsgrid.errors import ConfigError
from pacsgrid.registers.table_file import ISSUER, PATIENT_ID, read_rows
from pacsgrid.uids import is_name

SUBJECT, SHIFT = "subject", "shift_days"
MOST_SHIFT_DAYS = 3650
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class SubjectTableRow:
    """A line of the table. Identifies a patient: keep it in memory only.

    Attributes
    ----------
    line
        Its number in the file.
    patient_id, issuer
        PatientID and its issuer, empty for none.
    subject
        The patient's pseudonym.
    shift_days
        The patient's date shift; None where the table has none.
    """

    line: int
    patient_id: str
    issuer: str
    subject: str
    shift_days: int | None

    def __repr__(self) -> str:
        """Return a text that holds no identifying value."""
        return f"SubjectTableRow(line {self.line})"


def read_subject_table(file: Path, with_shift: bool) -> list[SubjectTableRow]:
    """Read a table of subjects; a line that says the same as an earlier one is left out.

    Parameters
    ----------
    file
        CSV with the columns ``patient_id`` and ``subject``, and ``issuer`` if PatientIDs have one.
    with_shift
        Whether dates are shifted by the table, which then has the column ``shift_days``.

    Returns
    -------
    list of SubjectTableRow
        One for each patient.

    Raises
    ------
    ConfigError
        The table is wrong, or contradicts itself. The message names every line, and quotes none.
    """
    required = (PATIENT_ID, SUBJECT, SHIFT) if with_shift else (PATIENT_ID, SUBJECT)
    rows: dict[tuple[str, str], SubjectTableRow] = {}
    owners: dict[str, SubjectTableRow] = {}
    wrong: list[str] = []
    for line, values in read_rows(file, required, (ISSUER,)):
        row = SubjectTableRow(
            line,
            values[PATIENT_ID],
            values[ISSUER],
            values[SUBJECT],
            _shift(values[SHIFT]) if with_shift else None,
        )
        if reason := why_no_subject(row.subject, row.patient_id):
            wrong.append(f"line {line}: {reason}")
        if with_shift and row.shift_days is None:
            wrong.append(
                f"line {line}: shift_days is not a whole number of days from -{MOST_SHIFT_DAYS} to "
                f"{MOST_SHIFT_DAYS} other than 0"
            )
        patient = rows.setdefault((row.issuer, row.patient_id), row)
        owner = owners.setdefault(row.subject.lower(), row)
        if (patient.subject, patient.shift_days) != (row.subject, row.shift_days):
            wrong.append(f"line {line}: line {patient.line} says otherwise of the same patient")
        elif (owner.issuer, owner.patient_id) != (row.issuer, row.patient_id):
            wrong.append(f"line {line}: line {owner.line} gives the subject to another patient")
    if wrong:
        raise table_error(file, wrong)
    return list(rows.values())


def table_error(file: Path, wrong: list[str]) -> ConfigError:
    """Return the error for a table with wrong lines, of which the first twenty are named.

    Parameters
    ----------
    file
        The table.
    wrong
        What is wrong, each with its line.

    Returns
    -------
    ConfigError
        The error to raise.
    """
    more = f"; and {len(wrong) - 20} more" if len(wrong) > 20 else ""
    return ConfigError(f"{file}: nothing was imported: {'; '.join(wrong[:20])}{more}")


def why_no_subject(subject: str, patient_id: str) -> str:
    """Say why a value cannot be the subject of a patient.

    Parameters
    ----------
    subject
        The value.
    patient_id
        The patient's ID.

    Returns
    -------
    str
        The reason, which quotes neither; empty if it can.
    """
    if not is_name(subject):
        return (
            "the subject must have 1 to 64 letters (a to z), digits, hyphens and underscores, and "
            "begin with a letter or digit"
        )
    # Short numbers occur in the numbers of a list by chance.
    words, own = _WORD.findall(subject.lower()), "".join(_WORD.findall(patient_id.lower()))
    plain = "".join(words)
    if own and (
        plain == own or (len(own) >= 4 and own in words) or (len(own) >= 6 and own in plain)
    ):
        return "the subject holds the patient's own ID"
    return ""


def _shift(text: str) -> int | None:
    digits = text.removeprefix("-").removeprefix("+")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 5:
        return None
    days = int(text)
    return days if 0 < abs(days) <= MOST_SHIFT_DAYS else None
