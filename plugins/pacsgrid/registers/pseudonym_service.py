"""A pseudonym service: ``$pseudonymize`` with FHIR ``Parameters``, as gPAS' FHIR gateway has it.

Asked with ``target`` (the domain) and ``original`` (who), it answers with one ``pseudonym`` for
each original that it knows, whose parts are ``target``, ``original`` and ``pseudonym``.
"""

from __future__ import annotations

from typing import Any

from pacsgrid.config.registers import SubjectSection
from pacsgrid.registers.fhir import FhirService


class PseudonymService(FhirService[SubjectSection]):
    """The service that knows a project's pseudonyms.

    Parameters
    ----------
    where
        The section of the site file that names it, for messages.
    settings
        What that section says.
    """

    def ask(self, patient_id: str, issuer: str) -> str | None:
        """Return a patient's pseudonym, None if the service does not know the patient.

        Parameters
        ----------
        patient_id
            The PatientID (0010,0020).
        issuer
            Its issuer (0010,0021); empty for none.

        Raises
        ------
        RegisterUnavailableError
            The service gives no answer that can be used.
        """
        with_issuer = self._settings.with_issuer and issuer
        original = f"{issuer}:{patient_id}" if with_issuer else patient_id
        answer = self.post_parameters(
            self._settings.operation,
            {
                "resourceType": "Parameters",
                "parameter": [
                    {"name": "target", "valueString": self._settings.target},
                    {"name": "original", "valueString": original},
                ],
            },
        )
        if answer.get("resourceType") != "Parameters":
            raise self._unusable("answers without Parameters; is url its base?")
        return self._pseudonym(answer, original)

    def _pseudonym(self, answer: dict[str, Any], original: str) -> str | None:
        found: set[str] = set()
        for parameter in answer.get("parameter") or ():
            if not isinstance(parameter, dict):
                raise self._unusable("has an entry in its Parameters that is none")
            parts = {
                str(part.get("name")): part
                for part in parameter.get("part") or ()
                if isinstance(part, dict)
            }
            if parameter.get("name") == "error":
                code = _code(parts.get("error-code", {}))
                if "not-found" not in code and "unknown" not in code:
                    raise self._unusable("answers with an error; look into its own log")
                continue
            if parameter.get("name") != "pseudonym":
                continue
            if _value(parts.get("original", {})) != original:
                raise self._unusable("answers for another patient than was asked for")
            if _value(parts.get("target", {})) not in ("", self._settings.target):
                raise self._unusable("answers for another domain than target")
            found.add(_value(parts.get("pseudonym", {})))
        if len(found) > 1:
            raise self._unusable("has several pseudonyms for one patient in this domain")
        return next(iter(found), None)


def _value(part: dict[str, Any]) -> str:
    """Return the value of a part, which is an Identifier or a string."""
    identifier = part.get("valueIdentifier")
    value = identifier.get("value") if isinstance(identifier, dict) else part.get("valueString")
    return value.strip() if isinstance(value, str) else ""


def _code(part: dict[str, Any]) -> str:
    coding = part.get("valueCoding")
    code = coding.get("code") if isinstance(coding, dict) else part.get("valueString")
    return code.lower().replace("_", "-") if isinstance(code, str) else ""
