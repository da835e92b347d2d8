"""The words every package shares: frozen values, no behaviour that touches the world."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
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


@dataclass(frozen=True)
class ZoneSettings:
    """How to reach one zone and where it keeps replicas.

    ``resource`` is the root resource deposits name; ``copies`` how many good replicas the
    policy asks for under it; ``bundle`` whether small objects go in as tar files that the server
    unpacks, which pays where round trips are long; a zone near by is as fast over several
    connections. With ``ca_file`` the zone is spoken to over TLS only, and its certificate must be
    one of theirs.
    """

    name: str
    host: str
    port: int
    user: str
    password: str = field(repr=False)
    resource: str = "demoResc"
    copies: int = 1
    bundle: bool = False
    ca_file: Path | None = None


@dataclass(frozen=True)
class SourceSettings:
    """One place studies come from.

    Attributes
    ----------
    kind
        ``dimse`` or ``dicomweb`` for a PACS, ``folder`` for a drop folder, ``received`` for what
        the receiver took in.
    retrieve
        How a PACS is read: ``get`` (C-GET), ``move`` (C-MOVE) or ``web`` (DICOMweb).
    fall_back
        The ways to go on with, in this order, when that one fails.
    move_bind, move_port
        Address of the interface and port where C-MOVE's instances are received.
    url
        DICOMweb service root; ``user`` and ``password``, or ``token``, are its credentials.
    page_size
        Answers asked for at once from a DICOMweb service.
    tls
        Whether DIMSE goes over TLS, trusting `ca_file`, with `cert_file` and `key_file` of ours.
    max_associations, instances_per_second, hours
        How much the source may be asked for: at once, per second (0 for no limit), and when, as
        ``20:00-06:00`` of local time.
    failures, pause_seconds
        After so many failures in a row it is left alone for so long.
    state
        Directory where this machine's processes share what they know of their sources.
    most_answers
        How many studies the source gives to one query at most; 0 where it has no limit.
    connect_seconds, answer_seconds, idle_seconds
        How long to wait for the connection and association, for the next DIMSE answer (a source
        may fetch from slow storage first), and for the next bytes.
    """

    name: str
    kind: str
    host: str = ""
    port: int = 0
    ae_title: str = ""
    calling_ae_title: str = "PACSGRID"
    retrieve: str = "get"
    fall_back: tuple[str, ...] = ()
    move_bind: str = ""
    move_port: int = 0
    url: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    page_size: int = 500
    most_answers: int = 0
    connect_seconds: float = 10.0
    answer_seconds: float = 600.0
    idle_seconds: float = 60.0
    folder: Path | None = None
    tls: bool = False
    max_associations: int = 1
    instances_per_second: float = 0.0
    hours: str = ""
    failures: int = 5
    pause_seconds: float = 600.0
    state: Path | None = None


@dataclass(frozen=True)
class ReplicationPolicy:
    """What a project is owed by its zones.

    Attributes
    ----------
    copies
        Good replicas of every instance, by zone; home first.
    resources
        The root resource a zone keeps them on, where it is not the zone's own setting.
    within_hours
        When all of them are to be proven, counted from the first proof at home.
    reverify_days
        How long a proof counts; then storage is read again. 0: each night.
    """

    copies: dict[str, int] = field(default_factory=dict)
    resources: dict[str, str] = field(default_factory=dict)
    within_hours: int = 72
    reverify_days: int = 30


@dataclass(frozen=True)
class ProjectSettings:
    """One project: one pseudonym space, one collection, one replication policy.

    ``profiles`` are those a steward may choose instead of ``profile`` for a run; ``nightly``
    the sources that are synchronised every night, from the study date ``nightly_from`` on.
    """

    name: str
    profile: str
    home_zone: str
    partner_zones: tuple[str, ...]
    key_file: Path
    policy: ReplicationPolicy = field(default_factory=ReplicationPolicy)
    profiles: tuple[str, ...] = ()
    nightly: tuple[str, ...] = ()
    nightly_from: date | None = None
