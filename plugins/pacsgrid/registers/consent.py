"""What every source of consent can be asked, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Protocol


class Answer(StrEnum):
    """Whether a patient consents."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class ConsentPatient:
    """Who is asked for. Identifies a person: keep it in memory only.

    Attributes
    ----------
    patient_id
        PatientID (0010,0020).
    issuer
        Its issuer, empty if it has none; None if that is not known.
    """

    patient_id: str
    issuer: str | None

    def __repr__(self) -> str:
        """Return a text that holds no identifying value."""
        return "ConsentPatient(...)"


@dataclass(frozen=True)
class ConsentAnswer:
    """What a source answers.

    Attributes
    ----------
    answer
        Whether the patient consents today.
    until
        The last day on which the patient consents; None without an end.
    differs
        Whether it is unknown because patients of several issuers have this ID.
    """

    answer: Answer
    until: date | None = None
    differs: bool = False


UNKNOWN = ConsentAnswer(Answer.UNKNOWN)


class ConsentSource(Protocol):
    """A source of truth: a file, a service, or a command."""

    def ask(self, patients: Sequence[ConsentPatient]) -> list[ConsentAnswer]:
        """Return the answer for each patient, in their order.

        Parameters
        ----------
        patients
            Whom to ask for.

        Raises
        ------
        RegisterUnavailableError
            The source gives no answer that can be used.
        """

    def changes(self, state: str) -> tuple[str, list[ConsentPatient] | None]:
        """Return whose answer may have changed since an earlier call.

        Parameters
        ----------
        state
            What the earlier call returned; empty for none.

        Returns
        -------
        tuple
            What to give the next call, and the patients; None if it may be anybody.

        Raises
        ------
        RegisterUnavailableError
            The source gives no answer that can be used.
        """

    def ping(self) -> None:
        """Return if the source can be asked, without asking for anybody.

        Raises
        ------
        RegisterUnavailableError
            It cannot.
        """

    def close(self) -> None:
        """Close connections."""


def holds_today(answer: Answer, until: date | None, today: date) -> ConsentAnswer:
    """Return an answer as it is today: a consent that has ended is none.

    Parameters
    ----------
    answer
        What was said.
    until
        The last day of a consent.
    today
        The day.
    """
    if answer is Answer.YES and until is not None and until < today:
        return ConsentAnswer(Answer.NO, until)
    return ConsentAnswer(answer, until if answer is Answer.YES else None)


def combine(answers: Sequence[ConsentAnswer]) -> ConsentAnswer:
    """Return the answer for an ID that several issuers' patients may have.

    It is what all of them say, and unknown if they differ.

    Parameters
    ----------
    answers
        The answers for each of them.
    """
    if not answers:
        return UNKNOWN
    if len({one.answer for one in answers}) != 1:
        return ConsentAnswer(Answer.UNKNOWN, differs=True)
    ends = [one.until for one in answers if one.until is not None]
    return ConsentAnswer(answers[0].answer, min(ends) if ends else None)
