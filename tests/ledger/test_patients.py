"""A subject stands for one patient; a second one is told, and leaves no trace."""

from __future__ import annotations

import pytest

from pacsgrid.ledger import Ledger
from pacsgrid.model import PatientPrint


@pytest.fixture
def ledger(dsn: str) -> Ledger:
    return Ledger(dsn)


JAN = PatientPrint(frozenset({"novak"}), frozenset({"jan"}), frozenset({"j"}), "", "m")


def test_what_agrees_is_added_and_what_does_not_changes_nothing(ledger: Ledger) -> None:
    assert ledger.patients.merge("demo", "S1", JAN) == ""
    assert ledger.patients.merge("demo", "S1", PatientPrint(birth="1961")) == ""
    assert ledger.patients.merge("demo", "S1", PatientPrint(birth="1962")).startswith(
        "PatientBirthDate"
    )
    assert ledger.patients.merge("demo", "S1", PatientPrint(sex="f")).startswith("PatientSex")
    assert ledger.patients.merge("demo", "S1", PatientPrint(birth="1961")) == ""
    # Another project, another subject: nothing to compare with.
    assert ledger.patients.merge("lungs", "S1", PatientPrint(birth="1962")) == ""
    assert ledger.patients.merge("demo", "S2", PatientPrint(birth="1962")) == ""


def test_of_a_withdrawn_patient_nothing_is_kept(ledger: Ledger) -> None:
    ledger.patients.merge("demo", "S1", PatientPrint(birth="1961"))
    ledger.withdrawals.withdraw("demo", "S1", ["brno"])
    assert ledger.patients.merge("demo", "S1", PatientPrint(birth="1962")) == ""
