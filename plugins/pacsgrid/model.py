"""The words every package shares: frozen values, no behaviour that touches the world."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Self


class StudyState(StrEnum):
    """Where a study is on its way; a study is in exactly one of these."""

    FOUND = "found"
    RETRIEVED = "retrieved"
    ANONYMISED = "anonymised"
    DEPOSITED = "deposited"
    REPLICATED = "replicated"
    VERIFIED = "verified"
    HELD = "held"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True)
class StudyQuery:
    """What a steward asks a source for (PS3.4 C.4.1, Study Root).

    Attributes
    ----------
    date_from, date_to
        Inclusive limits of StudyDate, ``YYYYMMDD`` or empty.
    modalities
        ModalitiesInStudy values, any of which may match; empty for all.
    """

    date_from: str = ""
    date_to: str = ""
    modalities: tuple[str, ...] = ()
    patient_ids: tuple[str, ...] = ()
    accession_numbers: tuple[str, ...] = ()
    study_uids: tuple[str, ...] = ()


@dataclass(frozen=True)
class FoundStudy:
    """One answer of a source. Identified: lives in memory and the sealed vault only.

    ``asked`` is the question that a PACS answered with it, one value for each key, and ``told``
    the keys that the answer confirms; what it does not is compared on what is retrieved.
    """

    study_uid: str
    patient_id: str
    instances: int | None = None
    modalities: tuple[str, ...] = ()
    asked: StudyQuery | None = field(default=None, compare=False)
    told: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class StagedFile:
    """One file as it came from a source, identified, in the private staging room."""

    path: Path
    sop_uid: str = ""


@dataclass(frozen=True)
class PatientPrint:
    """What tells one patient from another, as keyed hashes: says nothing without the project's key.

    Attributes
    ----------
    family, given
        The words of PatientName's family name, and of its other components, in any writing.
    initials
        The first letters of the given names.
    birth, sex
        Of a whole birth date, and of M or F; empty where the header does not tell.
    """

    family: frozenset[str] = frozenset()
    given: frozenset[str] = frozenset()
    initials: frozenset[str] = frozenset()
    birth: str = ""
    sex: str = ""

    @classmethod
    def from_fields(
        cls,
        family: Iterable[str],
        given: Iterable[str],
        initials: Iterable[str],
        birth: str,
        sex: str,
    ) -> Self:
        """Return what `as_fields` was called on."""
        return cls(frozenset(family), frozenset(given), frozenset(initials), birth, sex)

    def as_fields(self) -> tuple[list[str], list[str], list[str], str, str]:
        """Return the fields as they are stored, in the ledger and in journals."""
        words = sorted(self.family), sorted(self.given), sorted(self.initials)
        return (*words, self.birth, self.sex)

    def __or__(self, other: PatientPrint) -> PatientPrint:
        """Return what both together say."""
        return PatientPrint(
            self.family | other.family,
            self.given | other.given,
            self.initials | other.initials,
            self.birth or other.birth,
            self.sex or other.sex,
        )

    def disagrees(self, other: PatientPrint) -> str:
        """Return the attribute that tells two patients apart; empty when they may be one.

        A family name may change with a marriage, names may be swapped, shortened, or lack their
        diacritics: that is no disagreement where the rest agrees.
        """
        if self.birth and other.birth and self.birth != other.birth:
            return "PatientBirthDate (0010,0030)"
        if self.sex and other.sex and self.sex != other.sex:
            return "PatientSex (0010,0040)"
        mine, others = self.family | self.given, other.family | other.given
        common = mine & others
        if not mine or not others or len(common) > 1:
            return ""
        if self.family & other.family:
            apart = self.initials and other.initials and not self.initials & other.initials
            return "PatientName (0010,0010)" if apart else ""
        known = bool(self.birth) and self.birth == other.birth
        return "" if common and known else "PatientName (0010,0010)"


@dataclass(frozen=True)
class AnonymisedInstance:
    """One instance as it left the anonymiser; the unit of proof.

    ``sha256`` is the lower-case hex digest of the whole file, ``size`` its bytes,
    ``path`` the file in the outbox; all UIDs are pseudonyms. ``patient`` is what its header
    told of the patient.
    """

    study_uid: str
    series_uid: str
    sop_uid: str
    subject: str
    modality: str
    sop_class_uid: str
    sha256: str
    size: int
    path: Path
    patient: PatientPrint = PatientPrint()


@dataclass(frozen=True)
class ReplicaProof:
    """A checksum that a zone's server recomputed from storage.

    ``replica`` is iRODS's replica number, ``resource`` the leaf resource's hierarchy,
    ``sha256`` lower-case hex as recomputed, ``good`` whether it equals the anonymiser's.
    """

    sop_uid: str
    zone: str
    resource: str
    replica: int
    sha256: str
    good: bool


@dataclass(frozen=True)
class AVU:
    """An iRODS attribute-value-unit triple."""

    attribute: str
    value: str
    units: str = ""
