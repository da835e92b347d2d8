"""Consent from a FHIR service: ``Consent`` of HL7 FHIR R4, searched by the patient's identifier."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from pacsgrid.config.registers import ConsentSection
from pacsgrid.registers.consent import (
    Answer,
    ConsentAnswer,
    ConsentPatient,
    combine,
    holds_today,
)
from pacsgrid.registers.fhir import FhirService

# Patients in one search; a server may limit the length of a parameter.
_AT_ONCE = 50
# What was changed shortly before the last search is asked for again: clocks differ, and a server
# may show a change later than it dates it.
_OVERLAP = timedelta(hours=1)
_FIRST = timedelta(days=1)
_DENIES = frozenset(("rejected", "inactive"))
_NOT_YET = frozenset(("draft", "proposed", "entered-in-error"))
_Names = set[tuple[str, str]]


class ConsentService(FhirService[ConsentSection]):
    """A FHIR service that knows who consents.

    Of several consents of a patient the one with the last ``dateTime`` counts, whatever it says.

    Parameters
    ----------
    where
        The section of the site file that names it, for messages.
    settings
        What that section says.
    """

    def ask(self, patients: Sequence[ConsentPatient]) -> list[ConsentAnswer]:
        """Return the answer for each patient, see `ConsentSource`."""
        today = date.today()
        answers: list[ConsentAnswer] = []
        for at in range(0, len(patients), _AT_ONCE):
            some = patients[at : at + _AT_ONCE]
            wanted = ",".join(dict.fromkeys(self._token(one) for one in some))
            found = list(self._search([("patient.identifier", wanted)]))
            answers += [self._answer(one, found, today) for one in some]
        return answers

    def changes(self, state: str) -> tuple[str, list[ConsentPatient] | None]:
        """Return the patients whose consents were changed since then; see `ConsentSource`."""
        now = datetime.now(UTC)
        since = state or (now - _FIRST).isoformat(timespec="seconds")
        changed: set[ConsentPatient] = set()
        by_system: dict[str, list[str]] = {self._settings.system: [""]}
        for issuer, system in self._settings.issuers.items():
            by_system.setdefault(system, []).append(issuer)
        for _, names in self._search([("_lastUpdated", f"ge{since}")]):
            for system, value in names:
                issuers = by_system.get(system, ())
                changed.update(ConsentPatient(value, issuer) for issuer in issuers)
                if not self._settings.system:
                    changed.add(ConsentPatient(value, ""))
        return (now - _OVERLAP).isoformat(timespec="seconds"), sorted(
            changed, key=lambda one: (one.patient_id, one.issuer or "")
        )

    def _token(self, patient: ConsentPatient) -> str:
        """Return a patient as a token of a search (R4, 3.1.1.4.10), escaped."""
        value = _escaped(patient.patient_id)
        system = "" if patient.issuer is None else self._settings.system_of(patient.issuer)
        return f"{_escaped(system)}|{value}" if system else value

    def _search(self, criteria: list[tuple[str, str]]) -> Iterator[tuple[dict[str, Any], _Names]]:
        """Yield the consents that are found, each with the identifiers of its patient."""
        if self._settings.category:
            criteria = [*criteria, ("category", self._settings.category)]
        found = self.search("Consent", [*criteria, ("_include", "Consent:patient")])
        patients = {
            f"Patient/{one.get('id')}": _identifiers(one.get("identifier"))
            for one in found
            if one.get("resourceType") == "Patient"
        }
        for one in found:
            if one.get("resourceType") != "Consent":
                continue
            whose = one.get("patient")
            whose = whose if isinstance(whose, dict) else {}
            names = _identifiers([whose.get("identifier")])
            reference = str(whose.get("reference", ""))
            names |= patients.get("/".join(reference.split("/")[-2:]), set())
            if not names:
                raise self._unusable("has a Consent without its patient's identifier")
            yield one, names

    def _answer(
        self, patient: ConsentPatient, found: list[tuple[dict[str, Any], _Names]], today: date
    ) -> ConsentAnswer:
        wanted = "" if patient.issuer is None else self._settings.system_of(patient.issuer)
        by_system: dict[str, list[dict[str, Any]]] = {}
        for consent, names in found:
            for system, value in names:
                fits = value == patient.patient_id and wanted in ("", system)
                if fits and consent.get("status") not in _NOT_YET:
                    by_system.setdefault(system, []).append(consent)
        return combine([self._read(max(own, key=_written), today) for own in by_system.values()])

    def _read(self, consent: dict[str, Any], today: date) -> ConsentAnswer:
        if consent.get("status") in _DENIES:
            return ConsentAnswer(Answer.NO)
        if consent.get("status") != "active":
            raise self._unusable("has a Consent with a status that FHIR R4 does not have")
        top = consent.get("provision")
        top = top if isinstance(top, dict) else {}
        provision = top
        if self._settings.provision:
            named = [one for one in _nested(top) if self._is_meant(one)]
            if not named:
                return ConsentAnswer(Answer.NO)
            # Where provisions for one code differ, the one that denies counts.
            provision = next((one for one in named if one.get("type") != "permit"), named[0])
        if provision.get("type") != "permit":
            return ConsentAnswer(Answer.NO if provision.get("type") == "deny" else Answer.UNKNOWN)
        periods = [one["period"] for one in (top, provision) if isinstance(one.get("period"), dict)]
        ends = [self._day(one["end"], last=True) for one in periods if one.get("end")]
        starts = [self._day(one["start"], last=False) for one in periods if one.get("start")]
        if any(start > today for start in starts):
            return ConsentAnswer(Answer.NO)
        return holds_today(Answer.YES, min(ends) if ends else None, today)

    def _is_meant(self, provision: dict[str, Any]) -> bool:
        system, _, code = self._settings.provision.rpartition("|")
        for concept in provision.get("code") or ():
            for coding in (concept.get("coding") or ()) if isinstance(concept, dict) else ():
                if isinstance(coding, dict) and coding.get("code") == code:
                    return not system or coding.get("system") == system
        return False

    def _day(self, text: Any, last: bool) -> date:
        """Return the first or the last day of a FHIR dateTime, which may be a year or a month."""
        try:
            parts = [int(part) for part in str(text)[:10].split("-")]
            year, month, day = (*parts, *(0, 0))[:3]
            if day:
                return date(year, month, day)
            if not last:
                return date(year, month or 1, 1)
            month = month or 12
            return date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)
        except ValueError:
            raise self._unusable("has a Consent with a period that is no date") from None


def _nested(provision: dict[str, Any]) -> Iterator[dict[str, Any]]:
    pending = [provision]
    while pending:
        one = pending.pop()
        yield one
        pending += [inner for inner in one.get("provision") or () if isinstance(inner, dict)]


def _written(consent: dict[str, Any]) -> tuple[str, str]:
    meta = consent.get("meta")
    changed = meta.get("lastUpdated", "") if isinstance(meta, dict) else ""
    return str(consent.get("dateTime", "")), str(changed)


def _identifiers(given: Any) -> _Names:
    return {
        (str(one.get("system", "")), str(one["value"]).strip())
        for one in given or ()
        if isinstance(one, dict) and one.get("value")
    }


def _escaped(text: str) -> str:
    """Return a value of a search parameter with its separators escaped (R4, 3.1.1.5)."""
    for sign in "\\$,|":
        text = text.replace(sign, f"\\{sign}")
    return text
