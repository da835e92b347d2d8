"""Consent: who is asked before a study is taken, before a release, and each night."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from pacsgrid.config import ProjectSettings
from pacsgrid.deid import Pseudonyms
from pacsgrid.deid.patient import join_patient_key
from pacsgrid.deid.patient_keys import HeaderPatient
from pacsgrid.errors import HeldError
from pacsgrid.ledger import ConsentRow, Ledger, Vault
from pacsgrid.ledger.codes import CONSENT_HELD, CONSENT_REFUSED, WITHDRAWN
from pacsgrid.registers import Answer, ConsentAnswer, ConsentPatient, open_consent

log = logging.getLogger(__name__)

# How many patients are asked for at once.
_AT_ONCE = 500
_RECHECK_SERVICE = 30
# A question that no steward answers ends after fourteen days.
_ASK_STEWARD = timedelta(days=15)


@dataclass
class ConsentReport:
    """What a night's questions brought.

    Attributes
    ----------
    asked
        How many subjects were asked for.
    changed
        How many answers are other than before.
    resumed
        How many studies that were not taken for want of consent go on.
    ended
        The subjects whose consent has ended and whose studies are still there, with the time.
    """

    asked: int = 0
    changed: int = 0
    resumed: int = 0
    ended: list[tuple[str, datetime]] = field(default_factory=list)


class ConsentGate:
    """Asks a project's source of consent, and keeps what it answered.

    Parameters
    ----------
    project
        The project's settings.
    ledger
        Keeps answers, by pseudonym.
    vault
        Seals whom an answer is about.
    pseudonyms
        Hashes patients with the project's key.

    Attributes
    ----------
    left_out
        How many of the subjects that `releasable` was asked for last may not be released.
    """

    def __init__(
        self, project: ProjectSettings, ledger: Ledger, vault: Vault, pseudonyms: Pseudonyms
    ) -> None:
        self._name, self._settings = project.name, project.consent
        self._ledger, self._vault, self._pseudonyms = ledger, vault, pseudonyms
        self._source = open_consent(f"projects.{project.name}.consent", project.consent)
        self._asking = threading.Lock()
        self.left_out = 0

    @property
    def is_asked(self) -> bool:
        """Whether the project asks anybody for consent."""
        return self._source is not None

    def close(self) -> None:
        """Close the connections to the source."""
        if self._source is not None:
            self._source.close()

    def check_listed(self, patient_id: str) -> None:
        """Ask before a study is retrieved, by the PatientID that its source lists.

        The issuer is not known yet. If several issuers' patients have this ID and their answers
        differ, the study goes on, and its headers tell.

        Parameters
        ----------
        patient_id
            The PatientID; empty if the source lists none.

        Raises
        ------
        HeldError
            ``consent-refused`` or ``consent-held``.
        RegisterUnavailableError
            The source gives no answer that can be used.
        """
        value = patient_id.strip(" \0")
        if self._source is None or not value:
            return
        (answer,) = self._ask([ConsentPatient(value, None)])
        if not answer.differs:
            self._raise_unless_taken(answer)

    def check(self, patient: HeaderPatient, subject: str) -> None:
        """Ask for the patient whom a study's headers name, and enter the answer.

        Parameters
        ----------
        patient
            The patient.
        subject
            The patient's pseudonym.

        Raises
        ------
        HeldError
            ``consent-refused`` or ``consent-held``; ``withdrawn`` if the patient withdrew.
        RegisterUnavailableError
            The source gives no answer that can be used.
        """
        if self._source is None:
            return
        if self._ledger.withdrawals.is_withdrawn(self._name, subject):
            raise HeldError(
                WITHDRAWN, "the patient withdrew from this project; remove the study at its source"
            )
        answer = ConsentAnswer(Answer.UNKNOWN)
        if patient.patient_id:
            asked = ConsentPatient(patient.patient_id, patient.issuer)
            (answer,) = self._ask([asked])
            self._ledger.consents.record(self._name, [self._row(subject, asked, answer)])
        self._raise_unless_taken(answer)

    def releasable(self, subjects: Iterable[str]) -> set[str]:
        """Ask for some subjects, and return those whose studies may be released.

        Parameters
        ----------
        subjects
            Pseudonyms of patients with studies.

        Raises
        ------
        RegisterUnavailableError
            The source gives no answer that can be used.
        """
        wanted = sorted(set(subjects))
        if self._source is None:
            return set(wanted)
        allowed: set[str] = set()
        for at in range(0, len(wanted), _AT_ONCE):
            some = wanted[at : at + _AT_ONCE]
            known = self._ledger.consents.of_subjects(self._name, some)
            people = {
                subject: self._opened(known[subject])
                if subject in known
                else self._listed(self._ledger.studies.find_by_pseudonym(self._name, subject)[:1])
                for subject in some
            }
            for subject, answer in self._ask_all(people, known)[0].items():
                if self._is_taken(answer):
                    allowed.add(subject)
        self.left_out = len(wanted) - len(allowed)
        if self.left_out:
            log.warning("%d of %d subjects do not consent", self.left_out, len(wanted))
        return allowed

    def ask_again(self) -> ConsentReport:
        """Ask as each night does, and return what came of it; safe to repeat.

        Asked for is whose answer may have changed by what the source tells, whose consent has
        ended by its date, whom nobody was asked for yet, and who was not asked for a while. Studies
        that were not taken go on when the patient consents now.

        Raises
        ------
        RegisterUnavailableError
            The source gives no answer that can be used; what was entered stays.
        """
        report, source = ConsentReport(), self._source
        if source is None:
            return report
        now = datetime.now(UTC)
        state, changed = source.changes(self._ledger.consents.cursor(self._name))
        for page in self._ledger.consents.never_asked(self._name):
            self._count(report, {subject: self._listed([ref]) for subject, ref in page}, {})
        for at in range(0, len(changed or ()), _AT_ONCE):
            some = (changed or [])[at : at + _AT_ONCE]
            hashes = [h for one in some for h in (self._hash(one), self._hash_any(one))]
            self._count_known(report, self._ledger.consents.of_patients(self._name, hashes))
        before = now if changed is None else self._not_asked_since(now)
        for rows in self._ledger.consents.to_ask(self._name, before, date.today()):
            self._count_known(report, rows)
        report.resumed = self._resume()
        self._ledger.consents.set_cursor(self._name, state)
        report.ended = self._ledger.consents.ended(self._name)
        log.info(
            "project %s: asked for the consent of %d subjects, %d answers changed, %d studies go "
            "on, %d consents have ended",
            self._name,
            report.asked,
            report.changed,
            report.resumed,
            len(report.ended),
        )
        return report

    def _ask(self, patients: Sequence[ConsentPatient]) -> list[ConsentAnswer]:
        """Ask the source; one thread at a time, since studies are retrieved beside others."""
        assert self._source is not None
        with self._asking:
            return self._source.ask(patients) if patients else []

    def _not_asked_since(self, now: datetime) -> datetime | None:
        days, origin = self._settings.recheck_days, self._settings.origin
        if days:
            return now - timedelta(days=days)
        if origin == "service":
            return now - timedelta(days=_RECHECK_SERVICE)
        return now if origin == "command" else None

    def _count_known(self, report: ConsentReport, rows: Sequence[ConsentRow]) -> None:
        known = {row.subject: row for row in rows}
        self._count(report, {row.subject: self._opened(row) for row in rows}, known)

    def _count(
        self,
        report: ConsentReport,
        people: dict[str, ConsentPatient | None],
        known: Mapping[str, ConsentRow],
    ) -> None:
        answers, changed = self._ask_all(people, known)
        report.asked += len(answers)
        report.changed += changed

    def _ask_all(
        self, people: dict[str, ConsentPatient | None], known: Mapping[str, ConsentRow]
    ) -> tuple[dict[str, ConsentAnswer], int]:
        """Ask for subjects and enter the answers; return them, and how many have changed.

        Nobody can be asked for a subject whose patient is not known any more, or has no PatientID:
        of them nothing is known, and nothing is entered.
        """
        answers = dict.fromkeys(people, ConsentAnswer(Answer.UNKNOWN))
        named = {subject: one for subject, one in people.items() if one is not None}
        same: list[str] = []
        others: list[ConsentRow] = []
        told = self._ask(list(named.values()))
        for (subject, patient), answer in zip(named.items(), told, strict=True):
            answers[subject] = answer
            was = known.get(subject)
            if was and (was.answer, was.until) == (answer.answer.value, answer.until):
                same.append(subject)
            else:
                others.append(self._row(subject, patient, answer))
        self._ledger.consents.mark_asked(self._name, same)
        changed = self._ledger.consents.record(self._name, others) if others else 0
        return answers, changed

    def _row(self, subject: str, patient: ConsentPatient, answer: ConsentAnswer) -> ConsentRow:
        values = {"patient_id": patient.patient_id, "issuer": patient.issuer or ""}
        if patient.issuer is None:
            values["any_issuer"] = "yes"
        return ConsentRow(
            subject,
            self._hash_any(patient) if patient.issuer is None else self._hash(patient),
            self._vault.seal(self._bound_to(subject), values),
            answer.answer.value,
            answer.until,
        )

    def _resume(self) -> int:
        """Send the studies on that were not taken and whose patient consents now."""
        waiting: list[tuple[str, ConsentPatient]] = []
        resumed = 0
        for row in self._ledger.held.waiting(self._name):
            if not row.whole or row.code not in (CONSENT_HELD, CONSENT_REFUSED):
                continue
            if (patient := self._listed([row.ref])) is not None:
                waiting.append((row.ref, patient))
            if len(waiting) == _AT_ONCE:
                resumed += self._unhold_allowed(waiting)
                waiting = []
        return resumed + self._unhold_allowed(waiting)

    def _unhold_allowed(self, waiting: Sequence[tuple[str, ConsentPatient]]) -> int:
        resumed = 0
        answers = self._ask([patient for _, patient in waiting])
        for (ref, _), answer in zip(waiting, answers, strict=True):
            if answer.answer is not Answer.YES:
                continue
            with self._ledger.studies.lock(ref) as ours:
                held = self._ledger.studies.held_code(ref)
                if ours and held in (CONSENT_HELD, CONSENT_REFUSED):
                    self._ledger.studies.unhold(ref)
                    resumed += 1
        return resumed

    def _is_taken(self, answer: ConsentAnswer) -> bool:
        if answer.answer is Answer.UNKNOWN:
            return self._settings.when_unknown == "take"
        return answer.answer is Answer.YES

    def _raise_unless_taken(self, answer: ConsentAnswer) -> None:
        if self._is_taken(answer):
            return
        if answer.answer is Answer.NO:
            policy: str = self._settings.when_no
            what = "says that the patient does not consent"
            if answer.until is not None:
                what = "says that the patient's consent has ended"
        else:
            policy = self._settings.when_unknown
            what = "does not know whether the patient consents"
        code = CONSENT_HELD if policy == "hold" else CONSENT_REFUSED
        raise HeldError(
            code,
            f"the project's source of consent {what}. Nothing of the study was kept. It goes on by "
            "itself in the night after the consent is entered there; if the source is wrong, "
            "correct it there" + ("" if policy == "refuse" else ", or reject the study"),
        )

    def _listed(self, refs: Sequence[str]) -> ConsentPatient | None:
        """Return the patient of a study as its source listed it, without an issuer."""
        for ref in refs:
            sealed = self._ledger.vault.sealed(ref)
            patient_id = self._vault.open(ref, sealed)["patient_id"].strip(" \0") if sealed else ""
            if patient_id:
                return ConsentPatient(patient_id, None)
        return None

    def _opened(self, row: ConsentRow) -> ConsentPatient:
        values = self._vault.open(self._bound_to(row.subject), row.sealed)
        issuer = None if values.get("any_issuer") else values["issuer"]
        return ConsentPatient(values["patient_id"], issuer)

    def _hash(self, one: ConsentPatient) -> str:
        key = join_patient_key(one.patient_id, one.issuer or "")
        return self._pseudonyms.register_key("patient", key)

    def _hash_any(self, one: ConsentPatient) -> str:
        return self._pseudonyms.register_key("patient-id", one.patient_id)

    def _bound_to(self, subject: str) -> str:
        return f"consent {self._name} {subject}"


def withdrawal_runs(project: str, report: ConsentReport, now: datetime) -> list[dict[str, object]]:
    """Return the runs of `withdraw_patient` that ended consents ask for.

    A run's id is that of the subject and the time, so that a repeated call asks for the same runs.
    While the patient is not withdrawn, because nobody approved, a steward is asked again every
    fifteen days.

    Parameters
    ----------
    project
        The project's name.
    report
        What `ConsentGate.ask_again` returned.
    now
        The current time.

    Returns
    -------
    list of dict
        ``trigger_run_id`` and ``conf`` of each run.
    """
    runs: list[dict[str, object]] = []
    for subject, since in report.ended:
        times = max(0, (now - since) // _ASK_STEWARD)
        runs.append(
            {
                "trigger_run_id": f"consent__{project}__{subject}__{since:%Y%m%d}__{times}",
                "conf": {"project": project, "subject": subject},
            }
        )
    return runs
