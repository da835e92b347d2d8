"""The pseudonym service, over HTTP with a stand-in: answers, outages, and what is never told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pacsgrid.config.registers import SubjectSection
from pacsgrid.errors import RegisterUnavailableError
from pacsgrid.registers import PseudonymService
from support.fhir_register import FhirRegister, fhir_register

WHERE = "projects.lung.subjects"
PATIENT = "756203/1234"


@pytest.fixture
def register() -> Iterator[FhirRegister]:
    with fhir_register() as running:
        yield running


def service(register: FhirRegister, **more: Any) -> PseudonymService:
    given = {"from": "service", "url": register.url, "target": "LUNG", "timeout_seconds": 5, **more}
    return PseudonymService(WHERE, SubjectSection.model_validate(given))


def test_a_patient_has_a_pseudonym_or_none(register: FhirRegister) -> None:
    register.pseudonyms[PATIENT] = "LUNG_00007"
    asked = service(register)
    asked.ping()
    assert asked.ask(PATIENT, "FNB") == "LUNG_00007"
    assert asked.ask("801101/0022", "") is None
    made = service(register, operation="$pseudonymizeAllowCreate")
    assert made.ask("801101/0022", "") == "LUNG_00001" == asked.ask("801101/0022", "")
    # Who is asked for stands in the body, where no proxy and no server logs it.
    assert not any("7562" in path or "8011" in path for path in register.paths)


def test_an_issuer_is_told_where_the_settings_say_so(register: FhirRegister) -> None:
    register.pseudonyms[f"FNB:{PATIENT}"] = "A"
    assert service(register, with_issuer=True).ask(PATIENT, "FNB") == "A"
    assert service(register, with_issuer=True).ask(PATIENT, "") is None


def test_a_token_is_sent(register: FhirRegister, tmp_path: Path) -> None:
    register.token = "very secret"
    register.pseudonyms[PATIENT] = "A"
    with pytest.raises(RegisterUnavailableError, match="401, so it does not know us"):
        service(register).ask(PATIENT, "")
    (tmp_path / "token").write_text("very secret\n")
    assert service(register, token_file=tmp_path / "token").ask(PATIENT, "") == "A"
    with pytest.raises(RegisterUnavailableError, match="cannot read"):
        service(register, token_file=tmp_path / "none").ask(PATIENT, "")


def _answer(*parameters: Any) -> bytes:
    return json.dumps({"resourceType": "Parameters", "parameter": list(parameters)}).encode()


def _pseudonym(original: str, pseudonym: str, target: str = "LUNG") -> dict[str, Any]:
    values = {"original": original, "target": target, "pseudonym": pseudonym}
    part = [{"name": name, "valueIdentifier": {"value": v}} for name, v in values.items()]
    return {"name": "pseudonym", "part": part}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"", "not answer with FHIR"),
        (b"<html>756203/1234</html>", "not answer with FHIR"),
        (b"[1]", "not answer with FHIR"),
        (b"[" * 100_000, "not answer with FHIR"),
        (b'{"resourceType": "Bundle"}', "without Parameters"),
        (_answer(7), "entry in its Parameters that is none"),
        (_answer(_pseudonym("801101/0022", "B")), "another patient"),
        (_answer(_pseudonym(PATIENT, "B", "HEART")), "another domain"),
        (_answer(_pseudonym(PATIENT, "B"), _pseudonym(PATIENT, "C")), "several pseudonyms"),
        (_answer({"name": "error", "part": []}), "answers with an error"),
    ],
)
def test_an_answer_that_cannot_be_used_is_no_pseudonym(
    register: FhirRegister, answer: bytes, told: str
) -> None:
    register.answer = answer
    with pytest.raises(RegisterUnavailableError, match=told) as caught:
        service(register).ask(PATIENT, "")
    assert "756203" not in str(caught.value) and "801101" not in str(caught.value)


@pytest.mark.parametrize("status", [204, 302, 400, 403, 404, 500])
def test_a_failure_is_tried_again_and_never_unknown(register: FhirRegister, status: int) -> None:
    register.broken, register.answer = status, b""
    with pytest.raises(RegisterUnavailableError, match=f"status {status}"):
        service(register).ask(PATIENT, "")


def test_an_unknown_domain_is_no_unknown_patient(register: FhirRegister) -> None:
    with pytest.raises(RegisterUnavailableError, match=r"404, so it has .* or not this target"):
        service(register, target="HEART").ask(PATIENT, "")


def test_a_silent_service_and_none_at_all_are_outages(register: FhirRegister) -> None:
    register.silent = True
    with pytest.raises(RegisterUnavailableError, match="does not answer"):
        service(register, timeout_seconds=0.2).ask(PATIENT, "")
    with fhir_register() as other:
        gone = service(other)
    with pytest.raises(RegisterUnavailableError, match="does not answer"):
        gone.ask(PATIENT, "")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"from": "service"}, "needs url and target"),
        ({"url": "https://ttp.example.org/fhir"}, "are for `from: service`"),
        ({"from": "service", "url": "http://ttp.example.org/fhir", "target": "x"}, "https://"),
        ({"from": "service", "url": "file:///etc/passwd", "target": "x"}, "base of a service"),
        ({"from": "service", "url": "https://u:p@ttp/fhir", "target": "x"}, "no user"),
        ({"from": "service", "url": "https://ttp/?id=1", "target": "x"}, "no user, no query"),
        ({"from": "service", "url": "https://ttp", "target": "x", "date_shift": "table"}, "table"),
        ({"from": "derived", "date_shift": "table"}, "needs `from: table`"),
        ({"from": "elsewhere"}, "service"),
    ],
)
def test_a_wrong_setting_is_named(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        SubjectSection.model_validate(given)
