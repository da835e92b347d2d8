"""The values that all packages share: frozen dataclasses and enumerations, without side effects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Self


class StudyState(StrEnum):
    """The state of a study in the pipeline; a study is in exactly one."""

    FOUND = "found"
    RETRIEVED = "retrieved"
    ANONYMISED = "anonymised"
    DEPOSITED = "deposited"
    REPLICATED = "replicated"
    VERIFIED = "verified"
    HELD = "held"
    NOT_WANTED = "not-wanted"
    WITHDRAWN = "withdrawn"
    SUPERSEDED = "superseded"


@dataclass(frozen=True)
class StudyQuery:
    """A query for studies (PS3.4 C.4.1, Study Root); empty keys match everything.

    Attributes
    ----------
    date_from, date_to
        Limits of Study Date (0008,0020), ``YYYYMMDD``, both inclusive.
    modalities
        Values of Modalities in Study (0008,0061), any of which may match.
    patient_ids, accession_numbers, study_uids
        Values of Patient ID, Accession Number and Study Instance UID, any of which may match.
    """

    date_from: str = ""
    date_to: str = ""
    modalities: tuple[str, ...] = ()
    patient_ids: tuple[str, ...] = ()
    accession_numbers: tuple[str, ...] = ()
    study_uids: tuple[str, ...] = ()


@dataclass(frozen=True)
class FoundStudy:
    """A study that a source has. It identifies a patient: kept in memory and the sealed vault only.

    Attributes
    ----------
    study_uid, patient_id
        Study Instance UID and Patient ID.
    instances
        Number of Study Related Instances, where the source returns it.
    modalities
        Modalities in Study.
    date
        Study Date, ``YYYYMMDD``; empty where the source does not say it.
    size
        In bytes, where the source says it.
    accession
        Accession Number, where the source returns it.
    query
        The query that the PACS answered with this study, one value for each key.
    confirmed
        The keys of that query which the answer confirms. The others are compared with the headers
        of what is retrieved.
    """

    study_uid: str
    patient_id: str
    instances: int | None = None
    modalities: tuple[str, ...] = ()
    query: StudyQuery | None = field(default=None, compare=False)
    confirmed: tuple[str, ...] = field(default=(), compare=False)
    date: str = field(default="", compare=False)
    size: int | None = field(default=None, compare=False)
    accession: str = field(default="", compare=False)


@dataclass(frozen=True)
class SeriesFacts:
    """What is known of a series of a source; it identifies a patient by its UID.

    Of a value that differs between the instances, each value that occurs is given. None stands for
    what a source does not say, which is not the same as an empty value.

    Attributes
    ----------
    uid
        Series Instance UID (0020,000E).
    modality, description, body_part
        Modality (0008,0060), Series Description (0008,103E), Body Part Examined (0018,0015).
    image_types
        Image Type (0008,0008) of its instances, the values joined by backslashes.
    sop_classes
        SOP Class UIDs (0008,0016) of its instances.
    thicknesses
        Slice Thickness (0018,0050) of its instances, in mm.
    instances
        How many instances it has.
    """

    uid: str
    modality: str | None = None
    description: str | None = None
    body_part: str | None = None
    image_types: frozenset[str] | None = None
    sop_classes: frozenset[str] | None = None
    thicknesses: frozenset[float] | None = None
    instances: int | None = None


@dataclass(frozen=True)
class StagedFile:
    """A file as it came from a source, identified, in the private staging directory.

    Attributes
    ----------
    path
        The file.
    sop_uid
        Its SOP Instance UID, where it is known.
    """

    path: Path
    sop_uid: str = ""


@dataclass(frozen=True)
class PatientPrint:
    """What distinguishes patients, as keyed hashes, which are useless without the project's key.

    Attributes
    ----------
    family, given
        Hashes of the words of Patient Name's family name, and of its other components, in every
        spelling that is compared.
    initials
        Hashes of the first letters of the given names.
    birth, sex
        Hashes of a complete birth date, and of M or F; empty where the header has none.
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
        """Return the print that `as_fields` was called on.

        Parameters
        ----------
        family, given, initials, birth, sex
            What `as_fields` returned.
        """
        return cls(frozenset(family), frozenset(given), frozenset(initials), birth, sex)

    def as_fields(self) -> tuple[list[str], list[str], list[str], str, str]:
        """Return the fields as they are stored, in the ledger and in journals."""
        words = sorted(self.family), sorted(self.given), sorted(self.initials)
        return (*words, self.birth, self.sex)

    def __or__(self, other: PatientPrint) -> PatientPrint:
        """Return both prints combined; where both have a birth date or sex, this one's."""
        return PatientPrint(
            self.family | other.family,
            self.given | other.given,
            self.initials | other.initials,
            self.birth or other.birth,
            self.sex or other.sex,
        )

    def disagrees(self, other: PatientPrint) -> str:
        """Return the attribute that shows that two prints are of different patients.

        A family name may change with a marriage, and names may be swapped, shortened, or lack
        diacritics: that is no contradiction where the rest agrees.

        Parameters
        ----------
        other
            The print to compare with.

        Returns
        -------
        str
            Keyword and tag of the attribute; empty when both may be of one patient.
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
    """An instance as it left the anonymiser; the unit of proof.

    Attributes
    ----------
    study_uid, series_uid, sop_uid, subject
        Pseudonyms of the instance's UIDs and patient.
    modality, sop_class_uid
        Modality and SOP Class UID.
    sha256
        Digest of the whole file, in lower-case hex.
    size
        Size of the file in bytes.
    path
        The file in the outbox.
    patient
        What its original header says about the patient.
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
    sop_class_uid: str
    sha256: str
    size: int
    path: Path
    patient: PatientPrint = PatientPrint()
    version: int = 1
    result: str = ""


@dataclass(frozen=True)
class ReplicaProof:
    """A checksum that a zone's server recomputed from storage.

    Attributes
    ----------
    sop_uid
        The instance's pseudonymous SOP Instance UID.
    zone
        The zone.
    resource
        The leaf resource's hierarchy, as iRODS writes it.
    replica
        The replica number.
    sha256
        The recomputed digest, in lower-case hex.
    good
        Whether it equals the digest that the anonymiser computed.
    """

    sop_uid: str
    zone: str
    resource: str
    replica: int
    sha256: str
    good: bool


@dataclass(frozen=True)
class AVU:
    """An iRODS attribute-value-unit triple (AVU)."""

    attribute: str
    value: str
    units: str = ""
