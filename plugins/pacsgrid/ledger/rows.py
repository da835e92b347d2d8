"""What the ledger answers: frozen rows, free of identifying values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pacsgrid.model import StudyState


@dataclass(frozen=True)
class StudyRow:
    """A study and its one state."""

    ref: str
    project: str
    source: str
    profile_hash: str
    state: StudyState
    changed_at: datetime


@dataclass(frozen=True)
class InstanceRow:
    """An anonymised instance; UIDs are pseudonyms, `size` is in bytes."""

    study_uid: str
    series_uid: str
    sop_uid: str
    subject: str
    modality: str
    sha256: str
    size: int


@dataclass(frozen=True)
class HeldRow:
    """A study, or one file of it (`whole` False), that waits for a steward."""

    ref: str
    whole: bool
    code: str
    detail: str
    sha256: str
    since: datetime


@dataclass(frozen=True)
class AuditRow:
    """One change of state; `was` is empty for the first."""

    ref: str
    was: str
    became: str
    actor: str
    reason: str
    at: datetime
