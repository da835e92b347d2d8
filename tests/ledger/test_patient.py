"""A subject stands for one patient; a second one is told, and leaves no trace."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pacsgrid.ledger import Cohorts, Patients, migrate
from pacsgrid.model import PatientPrint


@pytest.fixture
def patients(dsn: str) -> Iterator[Patients]:
    migrate(dsn)
    with Patients(dsn) as patients:
        yield patients


JAN = PatientPrint(frozenset({"novak"}), frozenset({"jan"}), frozenset({"j"}), "", "m")


def test_what_agrees_is_added_and_what_does_not_changes_nothing(patients: Patients) -> None:
    assert patients.note("demo", "S1", JAN) == ""
    assert patients.note("demo", "S1", PatientPrint(birth="1961")) == ""
    assert patients.note("demo", "S1", PatientPrint(birth="1962")).startswith("PatientBirthDate")
    assert patients.note("demo", "S1", PatientPrint(sex="f")).startswith("PatientSex")
    assert patients.note("demo", "S1", PatientPrint(birth="1961")) == ""
    # Another project, another subject: nothing to compare with.
    assert patients.note("lungs", "S1", PatientPrint(birth="1962")) == ""
    assert patients.note("demo", "S2", PatientPrint(birth="1962")) == ""


def test_of_a_withdrawn_patient_nothing_is_kept(patients: Patients, dsn: str) -> None:
    patients.note("demo", "S1", PatientPrint(birth="1961"))
    with Cohorts(dsn) as cohorts:
        cohorts.withdraw("demo", "S1", ["brno"])
    assert patients.note("demo", "S1", PatientPrint(birth="1962")) == ""
