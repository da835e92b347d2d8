"""Find the pseudonyms of patients and studies from their identifiers, always on record."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pacsgrid.errors import ConfigError, SourceUnavailableError
from pacsgrid.model import StudyQuery
from pacsgrid.pacs.query_check import check_single_values
from pacsgrid.pipeline.context import ProjectContext

log = logging.getLogger(__name__)

_SHORTEST_REASON = 10
_MOST = 10_000
_PACS = ("dimse", "dicomweb")


class IdentifierKind(StrEnum):
    """What identifies: PatientID, AccessionNumber or StudyInstanceUID."""

    PATIENT = "patient"
    ACCESSION = "accession"
    STUDY = "study"

    @property
    def field(self) -> str:
        """The field of `StudyQuery` for identifiers of this kind."""
        return {"patient": "patient_ids", "accession": "accession_numbers"}.get(self, "study_uids")


@dataclass(frozen=True)
class FoundSubject:
    """What a project holds under an identifier; names no patient.

    Attributes
    ----------
    entry
        The number of the identifier in the list, from 1.
    project
        The project's name.
    subject
        The patient's pseudonym; empty if nothing of the studies is anonymised yet.
    studies
        The pseudonymous study UIDs.
    refs
        The studies' references in the ledger.
    withdrawn
        Whether the patient withdrew from the project.
    """

    entry: int
    project: str
    subject: str
    studies: tuple[str, ...]
    refs: tuple[str, ...]
    withdrawn: bool


def check_question(who: str, reason: str) -> None:
    """Raise ConfigError if the name of who asks or the reason is missing.

    Parameters
    ----------
    who
        The name.
    reason
        The reason.
    """
    if not who.strip():
        raise ConfigError("the name of who asks is missing; give that of an authorised person")
    if len(reason.strip()) < _SHORTEST_REASON:
        raise ConfigError(
            f"the reason is missing or too short; give at least {_SHORTEST_REASON} characters"
        )


def find_pseudonyms(
    context: ProjectContext, kind: IdentifierKind, values: Sequence[str], who: str, reason: str
) -> list[FoundSubject]:
    """Find the subjects and studies of a project that identifiers stand for.

    Who asked, why, and how many identifiers of which kind is written to the ledger's append-only
    records before the vault is opened, and again for each study that is found. The identifiers
    themselves are written nowhere.

    A patient's studies are found by the derived pseudonym and in the vault, since headers may
    name an issuer beside the PatientID. The sources are asked for accession numbers as well.

    Parameters
    ----------
    context
        The project.
    kind
        What `values` are.
    values
        The identifiers.
    who
        Who asks: a name from the site's register of authorised persons.
    reason
        Why, in a sentence of at least ten characters.

    Returns
    -------
    list of FoundSubject
        In the order of the identifiers; none for one that the project does not know. Two patients
        of different issuers may have one PatientID: then there are two.

    Raises
    ------
    ConfigError
        `who` or `reason` is missing, an identifier is empty or has a wild card, or the key is not
        the vault's.
    SourceUnavailableError
        A source that was asked for an accession number does not answer.
    RetryableError
        The ledger does not answer; then nothing is opened.
    """
    check_question(who, reason)
    values = [value.strip(" \0") for value in values]
    if not 0 < len(values) <= _MOST:
        raise ConfigError(f"give 1 to {_MOST} identifiers, one a line")
    check_single_values(_query(kind, values))
    context.ledger.audit.add_lookup(context.project.name, kind, len(values), who, reason)
    refs = _refs(context, kind, values)
    if kind is not IdentifierKind.STUDY:
        for value, more in _in_vault(context, kind, values).items():
            refs[value] |= more
    found = [one for n, value in enumerate(values, 1) for one in _subjects(context, n, refs[value])]
    if kind is IdentifierKind.PATIENT:
        found += _withdrawn(context, values, {(one.entry, one.subject) for one in found})
        found.sort(key=lambda one: (one.entry, one.subject))
    for ref in sorted({ref for one in found for ref in one.refs}):
        context.ledger.audit.add_access(who, ref, "pseudonym", reason)
    return found


def subjects_of(context: ProjectContext, query: StudyQuery, who: str, reason: str) -> list[str]:
    """Return the subjects that a selection of patients, accessions and studies stands for.

    Parameters
    ----------
    context
        The project.
    query
        The selection.
    who, reason
        As for `find_pseudonyms`.

    Returns
    -------
    list of str
        The pseudonyms, sorted.

    Raises
    ------
    ConfigError
        An identifier is not known in the project; the message gives its number.
    """
    subjects: set[str] = set()
    for kind in IdentifierKind:
        values = getattr(query, kind.field)
        if not values:
            continue
        found = find_pseudonyms(context, kind, values, who, reason)
        known = {one.entry for one in found if one.subject}
        if missing := sorted(set(range(1, len(values) + 1)) - known):
            raise ConfigError(
                f"{kind.field}, entry {', '.join(map(str, missing))}: project "
                f"{context.project.name} has no anonymised study under it"
            )
        subjects.update(one.subject for one in found)
    return sorted(subjects - {""})


def _query(kind: IdentifierKind, values: Sequence[str]) -> StudyQuery:
    fields: dict[str, tuple[str, ...]] = {kind.field: tuple(values)}
    return StudyQuery(
        patient_ids=fields.get("patient_ids", ()),
        accession_numbers=fields.get("accession_numbers", ()),
        study_uids=fields.get("study_uids", ()),
    )


def _refs(
    context: ProjectContext, kind: IdentifierKind, values: Sequence[str]
) -> dict[str, set[str]]:
    """Return the studies that an index of the ledger knows under each identifier."""
    project, pseudonyms = context.project.name, context.pseudonyms
    refs: dict[str, set[str]] = {value: set() for value in values}
    if kind is IdentifierKind.PATIENT:
        for value in values:
            subject = pseudonyms.subject(value)
            refs[value].update(context.ledger.studies.find_by_pseudonym(project, subject))
        return refs
    sources = context.ledger.studies.sources(project)
    if kind is IdentifierKind.STUDY:
        for value in values:
            refs[value] = _studies(context, sources, value)
        return refs
    for name in sorted(sources & context.site.sources.keys()):
        if context.site.source(name).kind not in _PACS:
            continue
        for value in values:
            try:
                answers = list(context.source(name).find_studies(_query(kind, [value])))
            except SourceUnavailableError as error:
                raise SourceUnavailableError(
                    f"{error}; it was asked for accession numbers: try again, or give the "
                    "PatientID or StudyInstanceUID"
                ) from None
            for study in answers:
                refs[value] |= _studies(context, {name}, study.study_uid)
    return refs


def _studies(context: ProjectContext, sources: Iterable[str], study_uid: str) -> set[str]:
    """Return the studies that a StudyInstanceUID stands for, in any of the sources."""
    project, pseudonyms = context.project.name, context.pseudonyms
    wanted = [pseudonyms.reference(name, study_uid) for name in sources]
    known = {row.ref for row in context.ledger.studies.records(wanted) if row.project == project}
    return known | set(context.ledger.studies.find_by_pseudonym(project, pseudonyms.uid(study_uid)))


def _in_vault(
    context: ProjectContext, kind: IdentifierKind, values: Sequence[str]
) -> dict[str, set[str]]:
    """Return the studies of the project whose vault entry holds each identifier.

    Every entry is read once, for all identifiers: the entries are encrypted, so no index can be
    searched for them.
    """
    key = "patient_id" if kind is IdentifierKind.PATIENT else "accession"
    wanted, found = set(values), defaultdict[str, set[str]](set)
    for ref, sealed in context.ledger.vault.iterate(context.project.name):
        value = context.vault.open(ref, sealed).get(key, "").strip(" \0")
        if value in wanted:
            found[value].add(ref)
    return found


def _subjects(context: ProjectContext, entry: int, refs: set[str]) -> list[FoundSubject]:
    project = context.project.name
    by_subject = defaultdict[str, list[tuple[str, str]]](list)
    for ref, subject, study in context.ledger.studies.pseudonyms(sorted(refs)):
        by_subject[subject].append((ref, study))
    return [
        FoundSubject(
            entry,
            project,
            subject,
            tuple(sorted(study for _, study in rows if study)),
            tuple(ref for ref, _ in rows),
            bool(subject) and context.ledger.withdrawals.is_withdrawn(project, subject),
        )
        for subject, rows in sorted(by_subject.items())
    ]


def _withdrawn(
    context: ProjectContext, values: Sequence[str], known: set[tuple[int, str]]
) -> list[FoundSubject]:
    """Return the patients who withdrew: the way to their studies is destroyed."""
    project = context.project.name
    subjects = ((n, context.pseudonyms.subject(value)) for n, value in enumerate(values, 1))
    return [
        FoundSubject(n, project, subject, (), (), True)
        for n, subject in subjects
        if (n, subject) not in known and context.ledger.withdrawals.is_withdrawn(project, subject)
    ]
