"""Sources of consent: a file, a command, a FHIR service over HTTP with a stand-in."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pacsgrid.config.registers import ConsentSection
from pacsgrid.errors import RegisterUnavailableError
from pacsgrid.registers import Answer, ConsentPatient, ConsentSource, open_consent
from support.fhir_register import FhirRegister, fhir_register

ZOFIE, EVA, NOBODY = "756203/1234", "801101/0022", "900101/1111"
SYSTEM = "https://fnbrno.example/patients"
TOMORROW = date.today() + timedelta(days=1)
YESTERDAY = date.today() - timedelta(days=1)


def opened(**given: Any) -> ConsentSource:
    source = open_consent("projects.lung.consent", ConsentSection.model_validate(given))
    assert source is not None
    return source


def asked(source: ConsentSource, *people: tuple[str, str | None]) -> list[str]:
    return [one.answer.value for one in source.ask([ConsentPatient(*one) for one in people])]


# -- file -------------------------------------------------------------------------------


def test_a_file_is_read_anew_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "consent.csv"
    file.write_text(
        "patient_id;consent;until;issuer\n"
        f"{ZOFIE};Yes;{TOMORROW};\n{EVA};yes;{YESTERDAY};\n77;yes;;FNB\n77;no;;UVN\n78;no;;A\n"
    )
    source = opened(**{"from": "file", "file": file})
    source.ping()
    assert asked(source, (ZOFIE, ""), (EVA, ""), (NOBODY, "")) == ["yes", "no", "unknown"]
    assert source.ask([ConsentPatient(ZOFIE, "")])[0].until == TOMORROW
    assert asked(source, ("77", "FNB"), ("77", "UVN"), ("77", "")) == ["yes", "no", "unknown"]
    # Where the issuer is not known, it is what all of them say.
    (seventy_seven, seventy_eight) = source.ask(
        [ConsentPatient("77", None), ConsentPatient("78", None)]
    )
    assert (seventy_seven.answer, seventy_seven.differs) == (Answer.UNKNOWN, True)
    assert seventy_eight.answer is Answer.NO
    state, changed = source.changes("")
    assert changed is None and source.changes(state) == (state, [])
    file.write_text(f"patient_id,consent\n{ZOFIE},no\n")
    assert asked(source, (ZOFIE, "")) == ["no"]
    assert source.changes(state)[1] is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("patient_id,consent\n756203/1234,maybe\n", "line 2: consent must be yes or no"),
        ("patient_id,consent,until\n756203/1234,yes,31.12.2027\n", "line 2: until must be a day"),
        ("patient_id,consent\n756203/1234,yes\n756203/1234,no\n", "line 3: line 2 says otherwise"),
        ("patient_id\n756203/1234\n", "lacks consent"),
        (None, "No such file"),
    ],
)
def test_a_wrong_file_is_an_outage_not_an_answer(
    tmp_path: Path, text: str | None, told: str
) -> None:
    file = tmp_path / "consent.csv"
    if text is not None:
        file.write_text(text)
    with pytest.raises(RegisterUnavailableError, match=told) as caught:
        asked(opened(**{"from": "file", "file": file}), (ZOFIE, ""))
    assert "756203" not in str(caught.value)


# -- command ----------------------------------------------------------------------------

PROGRAM = """
import json, sys
for line in sys.stdin:
    who = json.loads(line)
    known = {"756203/1234": "yes", "801101/0022": "no"}
    print(json.dumps({"consent": known.get(who["patient_id"], "unknown"), "until": None}))
sys.exit(int(sys.argv[1]))
"""


def command(tmp_path: Path, program: str = PROGRAM, status: str = "0", **more: Any) -> Any:
    file = tmp_path / "ask.py"
    file.write_text(program)
    return opened(**{"from": "command", "command": [sys.executable, str(file), status], **more})


def test_a_command_is_told_by_its_input_alone(tmp_path: Path) -> None:
    source = command(tmp_path)
    source.ping()
    assert asked(source, (ZOFIE, ""), (EVA, None), (NOBODY, "FNB")) == ["yes", "no", "unknown"]
    assert asked(source) == []


@pytest.mark.parametrize(
    ("program", "status", "told"),
    [
        (PROGRAM, "3", "ended with status 3"),
        ("print('{}')", "0", "line 1 that is not"),
        ('print(\'{"consent": "perhaps"}\')', "0", "line 1 that is not"),
        ("print('756203/1234')", "0", "line 1 that is not"),
        ("", "0", "answered 0 of 1 lines"),
        ("import time; time.sleep(60)", "0", "did not end within"),
    ],
)
def test_a_command_that_fails_is_an_outage(
    tmp_path: Path, program: str, status: str, told: str
) -> None:
    with pytest.raises(RegisterUnavailableError, match=told) as caught:
        asked(command(tmp_path, program, status, timeout_seconds=0.5 if "time" in program else 30),
              (ZOFIE, ""))  # fmt: skip
    assert "756203" not in str(caught.value)


def test_a_command_that_is_not_there_is_told() -> None:
    with pytest.raises(RegisterUnavailableError, match="is not there"):
        opened(**{"from": "command", "command": ["/nowhere/ask"]}).ping()


# -- service ----------------------------------------------------------------------------


@pytest.fixture
def register() -> Iterator[FhirRegister]:
    with fhir_register() as running:
        yield running


def consent(register: FhirRegister, person: str, **more: Any) -> dict[str, Any]:
    """Enter a consent, its patient by reference, as most servers have it."""
    number = len(register.consents)
    reference = f"Patient/p{number}"
    system = more.pop("system", SYSTEM)
    register.patients[reference] = {
        "resourceType": "Patient",
        "id": f"p{number}",
        "identifier": [{"system": system, "value": person}, {"system": "urn:x", "value": "9"}],
    }
    entry = {
        "resourceType": "Consent",
        "id": f"c{number}",
        "meta": {"lastUpdated": "2026-01-01T10:00:00Z"},
        "status": "active",
        "dateTime": "2024-05-01",
        "patient": {"reference": reference},
        "provision": {"type": "permit"},
        **more,
    }
    register.consents.append(entry)
    return entry


def service(register: FhirRegister, **more: Any) -> Any:
    given = {"from": "service", "url": register.url, "system": SYSTEM, "timeout_seconds": 5}
    return opened(**{**given, **more})


def test_a_service_is_asked_in_batches_and_in_the_body(register: FhirRegister) -> None:
    for number in range(120):
        consent(register, f"7{number:05}")
    register.page = 7
    people = [(f"7{number:05}", "") for number in range(121)]
    source = service(register)
    source.ping()
    assert asked(source, *people) == ["yes"] * 120 + ["unknown"]
    searches = [path for path in register.paths if path.endswith("_search")]
    assert len(searches) == 3
    assert not any("70001" in path for path in register.paths)


@pytest.mark.parametrize(
    ("more", "answer"),
    [
        ({}, "yes"),
        ({"status": "rejected"}, "no"),
        ({"status": "inactive"}, "no"),
        ({"status": "draft"}, "unknown"),
        ({"status": "entered-in-error"}, "unknown"),
        ({"provision": {"type": "deny"}}, "no"),
        ({"provision": {}}, "unknown"),
        ({"provision": {"type": "permit", "period": {"end": f"{TOMORROW}"}}}, "yes"),
        ({"provision": {"type": "permit", "period": {"end": f"{YESTERDAY}"}}}, "no"),
        ({"provision": {"type": "permit", "period": {"start": f"{TOMORROW}"}}}, "no"),
        ({"provision": {"type": "permit", "period": {"end": "2019-12"}}}, "no"),
        ({"provision": {"type": "permit", "period": {"end": "9998"}}}, "yes"),
        ({"system": "urn:other"}, "unknown"),
        ({"patient": {"identifier": {"system": SYSTEM, "value": ZOFIE}}}, "yes"),
    ],
)
def test_what_a_consent_says(register: FhirRegister, more: dict[str, Any], answer: str) -> None:
    consent(register, ZOFIE, **more)
    assert asked(service(register), (ZOFIE, "")) == [answer]


def test_the_newest_consent_counts(register: FhirRegister) -> None:
    consent(register, ZOFIE, dateTime="2024-01-01")
    consent(register, ZOFIE, dateTime="2025-01-01", status="inactive")
    consent(register, ZOFIE, dateTime="2026-01-01", status="draft")
    assert asked(service(register), (ZOFIE, "")) == ["no"]


def test_a_provision_with_a_code_counts_where_one_is_named(register: FhirRegister) -> None:
    code = {"coding": [{"system": "urn:oid:2.16.840", "code": "images"}]}
    inner = {"type": "permit", "code": [code]}
    consent(register, ZOFIE, provision={"type": "deny", "provision": [inner]})
    consent(register, EVA, provision={"type": "permit"})
    named = service(register, provision="urn:oid:2.16.840|images")
    assert asked(named, (ZOFIE, ""), (EVA, "")) == ["yes", "no"]
    assert asked(service(register, provision="images"), (ZOFIE, "")) == ["yes"]
    assert asked(service(register, provision="urn:other|images"), (ZOFIE, "")) == ["no"]


def test_issuers_have_systems_of_their_own(register: FhirRegister) -> None:
    consent(register, "77", system="urn:fnb")
    consent(register, "77", system="urn:uvn", provision={"type": "deny"})
    source = service(register, system="", issuers={"FNB": "urn:fnb", "UVN": "urn:uvn"})
    assert asked(source, ("77", "FNB"), ("77", "UVN"), ("77", None)) == ["yes", "no", "unknown"]


def test_a_value_with_separators_finds_one_patient_alone(register: FhirRegister) -> None:
    consent(register, "1")
    assert asked(service(register), ("x,1", ""), ("x|1", "")) == ["unknown", "unknown"]


def test_changes_are_asked_for_since_the_last_time(register: FhirRegister) -> None:
    consent(register, ZOFIE)
    source = service(register)
    state, changed = source.changes("2026-02-01T00:00:00+00:00")
    assert changed == []
    consent(register, EVA, meta={"lastUpdated": "2026-02-01T10:00:00+00:00"})
    _, changed = source.changes("2026-02-01T00:00:00+00:00")
    assert changed == [ConsentPatient(EVA, "")]
    assert state.endswith("+00:00")


def test_an_unusable_answer_is_an_outage(register: FhirRegister) -> None:
    source = service(register)
    register.broken = 500
    with pytest.raises(RegisterUnavailableError, match="status 500"):
        asked(source, (ZOFIE, ""))
    register.broken = 0
    consent(register, ZOFIE, patient={"display": "Žofie Nováková"},
            provision={"type": "permit"})  # fmt: skip
    for answer, told in (
        (json.dumps({"resourceType": "Patient"}), "without a Bundle"),
        (json.dumps({"resourceType": "Bundle", "entry": [7]}), "without a resource"),
        (
            json.dumps({"resourceType": "Bundle", "entry": [{"resource": register.consents[0]}]}),
            "without its patient's identifier",
        ),
        (
            json.dumps(
                {
                    "resourceType": "Bundle",
                    "link": [{"relation": "next", "url": "https://evil.example/page"}],
                }
            ),
            "outside of its base",
        ),
    ):
        register.answer = answer.encode()
        with pytest.raises(RegisterUnavailableError, match=told) as caught:
            asked(source, (ZOFIE, ""))
        assert "756203" not in str(caught.value) and "Nov" not in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        {"from": "file"},
        {"from": "service"},
        {"from": "command"},
        {"from": "none", "file": "/x.csv"},
        {"from": "file", "file": "/x.csv", "command": ["ask"]},
        {"from": "service", "url": "http://consent.example.org/fhir"},
    ],
)
def test_settings_that_do_not_fit_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ConsentSection.model_validate(given)
