"""The cohort index: what a query selects, without reading what it does not select."""

from __future__ import annotations

from pathlib import Path

import pytest

from pacsgrid.cohort_query import parse
from pacsgrid.ledger import STATE_ORDER, Ledger
from pacsgrid.ledger.cohort_index import CohortCounts, Selection
from pacsgrid.model import AnonymisedInstance, StudyState
from pacsgrid.pipeline.cohort_entries import study_entry
from pacsgrid.pipeline.manifest import Manifest, ManifestEntry

Json = dict[str, object]


def element(vr: str, *values: object) -> Json:
    return {"vr": vr, "Value": list(values)}


def enter(
    ledger: Ledger,
    number: int,
    shared: dict[str, Json],
    series: dict[str, tuple[dict[str, Json], list[dict[str, Json]]]],
    project: str = "lung",
    subject: str = "",
) -> str:
    """Enter a verified study: attributes of the study, of each series and of its instances."""
    ref, study, subject = f"st-{number:020x}", f"2.25.{number}", subject or f"S{number}"
    ledger.studies.add_found(ref, project, "drop", "hash", b"sealed")
    rows, entries = [], []
    for name, (_, instances) in series.items():
        for place, own in enumerate(instances):
            sop = f"{study}.{name}.{place}"
            modality = "CT"
            rows.append(
                AnonymisedInstance(
                    study, f"{study}.{name}", sop, subject, modality, "4", "ab" * 32, 10, Path("x")
                )
            )
            entries.append(ManifestEntry(f"{study}.{name}", sop, "ab" * 32, 10, own))
    ledger.instances.add(ref, rows)
    attributes = {f"{study}.{name}": own for name, (own, _) in series.items()}
    manifest = Manifest(
        project, subject, study, "basic", "h", None, shared, attributes, tuple(entries)
    )
    ledger.cohorts.put([study_entry(ref, manifest)])
    for state in STATE_ORDER[1:]:
        ledger.studies.advance(ref, state)
    return ref


AGE, SEX, DATE = "00101010", "00100040", "00080020"
MODALITY, PART, MAKER, DESCRIPTION = "00080060", "00180015", "00080070", "00081030"
THICKNESS, CONTRAST, LOCATION, TYPE = "00180050", "00180010", "00201041", "00080008"


@pytest.fixture
def ledger(dsn: str) -> Ledger:
    """Three studies of two projects, and one that is not verified."""
    ledger = Ledger(dsn, "tester")
    thin, thick = {THICKNESS: element("DS", 1.25)}, {THICKNESS: element("DS", 5)}
    chest = {
        MODALITY: element("CS", "CT"),
        PART: element("CS", "CHEST"),
        MAKER: element("LO", "ACME  Imaging"),
    }
    enter(
        ledger,
        1,
        {
            AGE: element("AS", "064Y"),
            SEX: element("CS", "F"),
            DATE: element("DA", "20200517"),
            DESCRIPTION: element("LO", "CT Thorax low-dose"),
        },
        {
            "1": (chest, [thin, thin]),
            "2": (chest, [{**thin, CONTRAST: element("LO", "Iodine")}]),
            "3": ({MODALITY: element("CS", "SEG")}, [{}]),
        },
    )
    enter(
        ledger,
        2,
        {AGE: element("AS", "018M"), SEX: element("CS", "M"), DATE: element("DA", "20210101")},
        {"1": (chest, [{**thick, LOCATION: element("DS", n * 2.5)} for n in range(40)])},
    )
    enter(ledger, 3, {}, {"1": ({MODALITY: element("CS", "MR")}, [{}])}, "heart")
    return ledger


@pytest.mark.parametrize(
    ("query", "series"),
    [
        (
            "Modality = CT and BodyPartExamined = chest and SliceThickness <= 1.5 and"
            " PatientAge = 60..70 and not has ContrastBolusAgent",
            ["1.1"],
        ),
        ("contrast = iodine or thickness > 4", ["1.2", "2.1"]),
        ("has SEG", ["1.1", "1.2", "1.3"]),
        ("has SEG and Modality != SEG", ["1.1", "1.2"]),
        ("PatientAge < 2", ["2.1"]),
        ("PatientAge between 18M and 18M", ["2.1"]),
        ("StudyDate = 2020-05", ["1.1", "1.2", "1.3"]),
        ("StudyDate > 2020", ["2.1"]),
        ("StudyDescription ~ 'thorax LOW'", ["1.1", "1.2", "1.3"]),
        ("StudyDescription ~ thor", []),
        ("StudyDescription ~ thor*", ["1.1", "1.2", "1.3"]),
        ("Manufacturer = 'acme imaging'", ["1.1", "1.2", "2.1"]),
        ("Manufacturer = acme*", ["1.1", "1.2", "2.1"]),
        ("Manufacturer = acm?", []),
        ("not has SliceThickness", ["1.3"]),
        ("NumberOfSlices in (2, 40)", ["1.1", "2.1"]),
        ("SliceLocation >= 97", ["2.1"]),
        ("SliceLocation > 97.5", []),
        ("NumberOfStudyRelatedSeries = 3 and not (has SliceThickness or has PatientSize)", ["1.3"]),
        ("subject = S2", ["2.1"]),
        ("Modality = MR", []),
        ("zone = brno", []),
    ],
)
def test_a_query_selects_series(ledger: Ledger, query: str, series: list[str]) -> None:
    found = ledger.cohorts.series_of(Selection("lung", parse(query)))
    assert sorted(uid.removeprefix("2.25.") for uids in found.values() for uid in uids) == series
    counts = ledger.cohorts.count(Selection("lung", parse(query)))
    assert (counts.series, counts.studies) == (len(series), len(found))


def test_counts_distributions_and_pages_are_of_the_same_series(ledger: Ledger) -> None:
    ct = Selection("lung", parse("Modality = CT"))
    assert ledger.cohorts.count(ct) == CohortCounts(2, 2, 3, 43, 430, 44, 440)
    shown = ledger.cohorts.distributions(ct)
    assert shown["sex"] == [("F", 1), ("M", 1)] and shown["age"] == [("0", 1), ("60", 1)]
    assert shown["year"] == [("2020", 1), ("2021", 1)]
    assert shown["modality"] == [("CT", 3)] and shown["body_part"] == [("CHEST", 3)]
    assert shown["manufacturer"] == [("ACME  Imaging", 3)]
    assert shown["thickness"] == [("1", 2), ("5", 1)]
    first = ledger.cohorts.page(ct, limit=1)
    assert [one.series_uid for one in first] == ["2.25.1.1", "2.25.1.2"]
    assert first[0].labels["SliceThickness"] == "1.25" and first[0].instances == 2
    (second,) = ledger.cohorts.page(ct, first[-1].ref)
    assert second.subject == "S2" and ledger.cohorts.page(ct, second.ref) == []
    without = Selection("lung", parse("Modality = CT"), frozenset({"2.25.1.1", "2.25.1.2"}))
    assert ledger.cohorts.count(without).studies == 1


def test_cells_have_patients_and_not_studies(ledger: Ledger) -> None:
    body = ({MODALITY: element("CS", "CT"), PART: element("CS", "CHEST")}, [{}])
    same = {AGE: element("AS", "063Y"), SEX: element("CS", "F"), DATE: element("DA", "20200502")}
    again = enter(ledger, 7, same, {"1": body}, subject="S1")
    names = ("age", "sex", "body_part", "study_month")
    (young, old) = ledger.cohorts.cells(Selection("lung"), names, 10, 2)
    assert young.values == ("0", "M", "CHEST", "202101") and young.subjects == 1
    assert old.values == ("60", "F", "CHEST", "202005") and old.subjects == 1
    assert again in old.refs and len(old.refs) == 2
    enter(ledger, 8, same, {"1": body})
    (left,) = ledger.cohorts.cells(Selection("lung"), names, 10, 2)
    assert left.values == young.values
    assert ledger.cohorts.cells(Selection("lung"), ("sex",), 10, 1) == []


def test_what_is_held_or_withdrawn_is_in_no_cohort(ledger: Ledger) -> None:
    everything = Selection("lung")
    ref = f"st-{2:020x}"
    ledger.studies.reopen(ref)
    assert ledger.cohorts.count(everything).studies == 1
    for state in STATE_ORDER[1:]:
        ledger.studies.advance(ref, state)
    assert ledger.cohorts.count(everything).studies == 2
    ledger.withdrawals.withdraw("lung", "S2", ["brno"])
    assert ledger.studies.state(ref) is StudyState.WITHDRAWN
    assert ledger.cohorts.count(everything).studies == 1
    assert ledger.cohorts.missing([ref]) == [ref]


def test_a_saved_cohort_is_replaced_and_removed_and_its_history_stays(ledger: Ledger) -> None:
    saved = ledger.saved_cohorts
    saved.save("lung", "thin", ["Modality = CT"], [], False, "anna")
    saved.save("lung", "thin", ["Modality = MR"], ["1.2", "1.2"], True, "ben")
    (one,) = saved.of_project("lung")
    assert (one.criteria, one.excluded, one.matching, one.who) == (
        ("Modality = MR",),
        ("1.2",),
        True,
        "ben",
    )
    assert saved.of_project("heart") == []
    saved.remove("lung", "thin", "anna")
    assert saved.of_project("lung") == []
    rows = ledger.database.all("SELECT who FROM pacsgrid.saved_cohort ORDER BY id")
    assert rows == [("anna",), ("ben",), ("anna",)]
