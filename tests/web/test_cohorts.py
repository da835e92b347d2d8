"""The cohort builder's API: exact for those who release, rounded for others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient

from pacsgrid.config.projects import ReleaseGate
from pacsgrid.ledger import STATE_ORDER, Ledger
from pacsgrid.model import AnonymisedInstance
from pacsgrid.pipeline.cohort_entries import study_entry
from pacsgrid.pipeline.manifest import Manifest, ManifestEntry
from pacsgrid.web.access import Viewer, the_site, viewer
from pacsgrid.web.app import app

CT = {"criteria": ["Modality = CT"]}


def _enter(ledger: Ledger, number: int, sex: str) -> None:
    ref, study, subject = f"st-{number:020x}", f"2.25.{number}", f"S{number}"
    series, sop = f"{study}.1", f"{study}.1.1"
    ledger.studies.add_found(ref, "demo", "drop", "hash", b"sealed")
    ledger.instances.add(
        ref,
        [AnonymisedInstance(study, series, sop, subject, "CT", "4", "ab" * 32, 10, Path("x"))],
    )
    manifest = Manifest(
        "demo",
        subject,
        study,
        "basic",
        "h",
        None,
        {"00100040": {"vr": "CS", "Value": [sex]}},
        {series: {"00080060": {"vr": "CS", "Value": ["CT"]}}},
        (ManifestEntry(series, sop, "ab" * 32, 10, {}),),
    )
    ledger.cohorts.put([study_entry(ref, manifest)])
    for state in STATE_ORDER[1:]:
        ledger.studies.advance(ref, state)


@pytest.fixture
def ledger(dsn: str) -> Ledger:
    """Twelve women and two men."""
    ledger = Ledger(dsn, "tester")
    for number in range(14):
        _enter(ledger, number, "M" if number > 11 else "F")
    return ledger


@pytest.fixture
def page(dsn: str) -> Iterator[Callable[[bool], TestClient]]:
    project = SimpleNamespace(release_gate=ReleaseGate(smallest_cell=5))
    site = SimpleNamespace(ledger_dsn=dsn, project=lambda name: project)
    app.dependency_overrides[the_site] = lambda: site

    def of(releases: bool) -> TestClient:
        who = Viewer("anna", ("demo",), False, False, releases=releases)
        app.dependency_overrides[viewer] = lambda: who
        return TestClient(app)

    yield of
    app.dependency_overrides.clear()


def test_a_researcher_gets_rounded_counts_and_nothing_of_few(
    page: Callable[[bool], TestClient], ledger: Ledger
) -> None:
    told = page(False).post("/api/cohorts/demo/count", json=CT).json()
    assert (told["subjects"], told["studies"], told["series"]) == (10, 10, 10)
    assert told["exact"] is False and told["bytes"] is None and told["small_studies"] is None
    assert told["distributions"]["sex"] == [
        {"value": "F", "count": 10},
        {"value": "M", "count": None},
    ]
    men = {"criteria": ["PatientSex = M"]}
    told = page(False).post("/api/cohorts/demo/count", json=men).json()
    assert told["subjects"] is None and told["distributions"]["modality"] == []
    left = {**CT, "excluded": ["2.25.1.1"]}
    assert page(False).post("/api/cohorts/demo/count", json=left).status_code == 403
    for path in ("series", "saved"):
        answer = page(False).post(f"/api/cohorts/demo/{path}", json={**CT, "name": "x"})
        assert answer.status_code == 403
    assert page(False).get("/api/cohorts/demo/series/2.25.1.1/picture").status_code == 403


def test_a_steward_pages_saves_and_removes(
    page: Callable[[bool], TestClient], ledger: Ledger
) -> None:
    steward = page(True)
    rows = steward.post("/api/cohorts/demo/series", json=CT).json()
    assert len(rows) == 14 and rows[0]["labels"]["Modality"] == "CT"
    again = steward.post("/api/cohorts/demo/series", json={**CT, "after": rows[9]["ref"]}).json()
    assert [row["ref"] for row in again] == [row["ref"] for row in rows[10:]]
    saved = steward.post("/api/cohorts/demo/saved", json={**CT, "name": "thin"}).json()
    assert [(one["name"], one["who"]) for one in saved] == [("thin", "anna")]
    assert steward.get("/api/cohorts/demo/saved").json() == saved
    for body in ({**CT, "name": "../x"}, {"criteria": [], "name": "x"}):
        assert steward.post("/api/cohorts/demo/saved", json=body).status_code == 422
    assert steward.post("/api/cohorts/demo/saved/none/remove").status_code == 404
    assert steward.post("/api/cohorts/demo/saved/thin/remove").json() == []


def test_a_wrong_query_says_where_and_another_project_is_not_there(
    page: Callable[[bool], TestClient], ledger: Ledger
) -> None:
    wrong = page(True).post("/api/cohorts/demo/count", json={"criteria": ["Modality < 3"]})
    assert wrong.status_code == 422 and "character 10" in wrong.json()["detail"]
    assert page(True).post("/api/cohorts/heart/count", json=CT).status_code == 404
    assert page(True).get("/api/cohorts/heart/attributes").status_code == 404
    assert page(True).get("/api/cohorts/demo/attributes").json()["PatientAge"] == "age"
    assert page(True).get("/api/cohorts/demo/series/..%2Fx/picture").status_code == 404
