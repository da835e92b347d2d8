"""Subjects from outside: which pseudonym the patients of a study have, and who is asked."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from pacsgrid.config import ProjectSettings
from pacsgrid.deid import AssignedSubject, Pseudonyms
from pacsgrid.deid.patient import join_patient_key
from pacsgrid.deid.patient_keys import HeaderPatient
from pacsgrid.errors import ConfigError, HeldError, RetryableError
from pacsgrid.ledger import Ledger, SubjectRow, Vault
from pacsgrid.registers import PseudonymService, SubjectTableRow, read_subject_table
from pacsgrid.registers.subject_table import table_error, why_no_subject

log = logging.getLogger(__name__)

UNKNOWN = "patient-unknown"
"""The code of a study whose patient has no pseudonym outside."""


class SubjectAssigner:
    """Finds the subjects of a project's patients where they come from outside.

    Parameters
    ----------
    project
        The project's settings.
    ledger
        Keeps who has which subject. A patient is asked for once; then the entry holds.
    vault
        Seals date shifts.
    pseudonyms
        Hashes patients with the project's key.
    """

    def __init__(
        self, project: ProjectSettings, ledger: Ledger, vault: Vault, pseudonyms: Pseudonyms
    ) -> None:
        self._project, self._ledger = project, ledger
        self._vault, self._pseudonyms = vault, pseudonyms
        self._settings = project.subjects
        self._settled = False
        where = f"projects.{project.name}.subjects"
        self._service = (
            PseudonymService(where, self._settings) if self._settings.origin == "service" else None
        )

    def close(self) -> None:
        """Close the connections to the service."""
        if self._service is not None:
            self._service.close()

    def check_mode(self) -> None:
        """Check that the project's studies were made with subjects of the same origin.

        Raises
        ------
        ConfigError
            They were not; the message says what to set.
        """
        if self._settled:
            return
        mode = self._ledger.subjects.settle_mode(self._project.name, self._settings.mode)
        if mode != self._settings.mode:
            raise ConfigError(
                f"projects.{self._project.name}.subjects: the project's studies have subjects "
                f"that are {_DESCRIBED[mode]}, and the site file now says: "
                f"{_DESCRIBED[self._settings.mode]}. "
                "One patient would become two subjects. Set it back, or make a new project"
            )
        self._settled = True

    def check_listed(self, patient_id: str) -> None:
        """Check before a study is retrieved that the table may have its patient.

        Parameters
        ----------
        patient_id
            The PatientID that the source lists, whose issuer is not known; empty if it lists none.

        Raises
        ------
        HeldError
            ``patient-unknown``: no issuer's patient of this ID is in the table.
        """
        if self._settings.origin != "table" or not (value := patient_id.strip(" \0")):
            return
        if not self._ledger.subjects.has_patient_id(self._project.name, self._hash_id(value)):
            raise self._unknown()

    def assign(self, patients: Collection[HeaderPatient]) -> dict[str, AssignedSubject] | None:
        """Return the subjects of a study's patients by `patient_key`; None if they are derived.

        Parameters
        ----------
        patients
            Whom the headers of the study name.

        Raises
        ------
        HeldError
            ``patient-unknown``, ``subject-taken`` or ``bad-subject``.
        RetryableError
            The service does not answer, or the project's setting was changed.
        """
        try:
            self.check_mode()
        except ConfigError as error:
            raise RetryableError(str(error)) from None  # the study is not to blame
        if not self._settings.from_outside:
            return None
        known = self._ledger.subjects.find(
            self._project.name, [self._hash(one.patient_id, one.issuer) for one in patients]
        )
        assigned = {}
        for one in patients:
            row = known.get(self._hash(one.patient_id, one.issuer))
            assigned[one.key] = self._opened(row or self._ask(one))
        return assigned

    def import_table(self, file: Path, who: str) -> tuple[int, int]:
        """Take the subjects of a table in, all of them or none.

        Parameters
        ----------
        file
            The table, see `read_subject_table`.
        who
            Who brings it, for the record.

        Returns
        -------
        tuple of int
            How many patients are new, and how many the table has.

        Raises
        ------
        ConfigError
            The project has no table, or the table is wrong or contradicts what is known. The
            message names every line, and quotes none.
        """
        if self._settings.origin != "table":
            raise ConfigError(
                f"projects.{self._project.name}.subjects does not say `from: table`; set it first"
            )
        self.check_mode()
        table = read_subject_table(file, self._settings.date_shift == "table")
        rows = [self._row(one) for one in table]
        wrong = self._contradictions(table, rows)
        if wrong:
            raise table_error(file, wrong)
        added = self._ledger.subjects.add(self._project.name, "table", who, rows)
        if added < 0:
            raise RetryableError(f"{file}: somebody else imported meanwhile; import it again")
        log.info("project %s: %d of %d patients are new", self._project.name, added, len(rows))
        return added, len(rows)

    def unhold_listed(self) -> int:
        """Send on the studies that are held for a patient whom the table has now; return how many.

        A study whose source lists no PatientID is left to a steward.
        """
        sent = 0
        for row in self._ledger.held.waiting(self._project.name):
            if row.code != UNKNOWN or not row.whole:
                continue
            identity = self._vault.open(row.ref, self._ledger.vault.sealed(row.ref))
            patient_id = identity["patient_id"].strip(" \0")
            if not patient_id or not self._ledger.subjects.has_patient_id(
                self._project.name, self._hash_id(patient_id)
            ):
                continue
            with self._ledger.studies.lock(row.ref) as ours:
                if ours and self._ledger.studies.held_code(row.ref) == UNKNOWN:
                    self._ledger.studies.unhold(row.ref)
                    sent += 1
        return sent

    def _contradictions(
        self, table: Sequence[SubjectTableRow], rows: Sequence[SubjectRow]
    ) -> list[str]:
        """Return what of a table contradicts the ledger, each with its line."""
        name = self._project.name
        wrong = {
            clash.row: (
                "this patient has another subject already"
                if clash.same_patient
                else "another patient has this subject already"
            )
            for clash in self._ledger.subjects.clashes(name, rows)
        }
        if self._settings.date_shift == "table":
            known = self._ledger.subjects.find(name, [row.patient for row in rows])
            for number, (line, row) in enumerate(zip(table, rows, strict=True)):
                entry = known.get(row.patient)
                if not entry or not entry.sealed or number in wrong:
                    continue
                if self._opened(entry).shift_days != line.shift_days:
                    wrong[number] = "this patient has another shift_days already"
        return [f"line {table[number].line}: {text}" for number, text in sorted(wrong.items())]

    def _row(self, one: SubjectTableRow) -> SubjectRow:
        return self._sealed(one.patient_id, one.issuer, one.subject, one.shift_days)

    def _sealed(self, patient_id: str, issuer: str, subject: str, days: int | None) -> SubjectRow:
        patient = self._hash(patient_id, issuer)
        values = {"shift_days": "" if days is None else str(days)}
        sealed = self._vault.seal(self._bound_to(patient), values)
        return SubjectRow(patient, self._hash_id(patient_id), subject, sealed)

    def _opened(self, row: SubjectRow) -> AssignedSubject:
        if not row.sealed:  # withdrawn: nothing of the patient is deposited any more
            return AssignedSubject(row.subject)
        days = self._vault.open(self._bound_to(row.patient), row.sealed)["shift_days"]
        return AssignedSubject(row.subject, int(days) if days else None)

    def _ask(self, one: HeaderPatient) -> SubjectRow:
        if not one.patient_id:
            raise HeldError(
                UNKNOWN,
                "the files have no PatientID (0010,0020), so nobody can be asked for the patient's "
                "pseudonym; correct them at the source, and try again",
            )
        if self._service is None:
            raise self._unknown()
        subject = self._service.ask(one.patient_id, one.issuer)
        if subject is None:
            raise self._unknown()
        if reason := why_no_subject(subject, one.patient_id):
            raise HeldError(
                "bad-subject",
                f"the pseudonym service's answer for this patient cannot be used: {reason}; have "
                "the service's domain configured so, and try again",
            )
        row, name = self._sealed(one.patient_id, one.issuer, subject, None), self._project.name
        self._ledger.subjects.add(name, "service", "pseudonym service", [row])
        known = self._ledger.subjects.find(name, [row.patient])
        if row.patient not in known:
            raise HeldError(
                "subject-taken",
                "the pseudonym service gave this patient a subject that another patient of the "
                "project has: two patients would become one. They may be one person under two "
                "PatientIDs, or two issuers' patients under one, for which `with_issuer` is made; "
                "correct it at the source or in the service, and try again",
            )
        return known[row.patient]

    def _unknown(self) -> HeldError:
        if self._service is None:
            return HeldError(
                UNKNOWN,
                "the project's table of subjects has no patient with this PatientID (0010,0020) "
                "and issuer (0010,0021); add the patient with `pacsgrid subjects "
                f"{self._project.name} --import FILE`, which sends the study on, or reject the "
                "study",
            )
        return HeldError(
            UNKNOWN,
            "the pseudonym service does not know the patient of this study; have the patient "
            "registered there and try again, or reject the study",
        )

    def _hash(self, patient_id: str, issuer: str) -> str:
        return self._pseudonyms.register_key("patient", join_patient_key(patient_id, issuer))

    def _hash_id(self, patient_id: str) -> str:
        return self._pseudonyms.register_key("patient-id", patient_id)

    def _bound_to(self, patient: str) -> str:
        return f"subject {self._project.name} {patient}"


_DESCRIBED: Mapping[str, str] = {
    "derived": "derived from the project's key",
    "outside": "given from outside, with derived date shifts",
    "outside, dates by table": "given from outside, with date shifts of the table",
}
