"""Records that the ledger returns: frozen, and free of identifying values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from pacsgrid.model import StudyState


@dataclass(frozen=True)
class StudyRecord:
    """A study and its state.

    Attributes
    ----------
    ref
        The study's opaque reference.
    source
        The name of the DICOM source that it came from.
    profile_hash
        The de-identification profile that it is anonymised with.
    changed_at
        When its state changed last.
    """

    ref: str
    project: str
    source: str
    profile_hash: str
    state: StudyState
    changed_at: datetime

    COLUMNS = "ref, project, source, profile_hash, state, changed_at"

    @classmethod
    def of(cls, row: tuple[str, str, str, str, str, datetime]) -> Self:
        """Return the record of a row of `COLUMNS`."""
        ref, project, source, profile_hash, state, changed_at = row
        return cls(ref, project, source, profile_hash, StudyState(state), changed_at)


@dataclass(frozen=True)
class ListedStudy(StudyRecord):
    """A study in a list; ``size`` is in bytes."""

    instances: int
    size: int


@dataclass(frozen=True)
class InstanceRecord:
    """An anonymised instance.

    Attributes
    ----------
    study_uid, series_uid, sop_uid, subject
        Pseudonyms.
    sha256
        Of the whole file, in hex.
    size
        In bytes.
    version
        Which version of its study it belongs to.
    result
        The name of the result that it belongs to; empty for what was anonymised here.
    """

    study_uid: str
    series_uid: str
    sop_uid: str
    subject: str
    modality: str
    sha256: str
    size: int
    version: int = 1
    result: str = ""

    COLUMNS = "study_uid, series_uid, sop_uid, subject, modality, sha256, size, version, result"


@dataclass(frozen=True)
class HeldRecord:
    """A held study, or one held file of a study that went on without it.

    Attributes
    ----------
    whole
        Whether the study itself is held.
    code
        The reason, as a short code.
    detail
        What is wrong and what to do.
    """

    ref: str
    project: str
    source: str
    whole: bool
    code: str
    detail: str
    since: datetime


@dataclass(frozen=True)
class StateChange:
    """An entry of the audit trail; ``was`` is empty for a study's first state."""

    ref: str
    was: str
    became: str
    actor: str
    reason: str
    at: datetime


@dataclass(frozen=True)
class AccessRecord:
    """Who looked at what identifies a study."""

    who: str
    what: str
    at: datetime


@dataclass(frozen=True)
class DecisionRecord:
    """What a steward decided about a held study."""

    verdict: str
    who: str
    reason: str
    profile: str
    at: datetime
