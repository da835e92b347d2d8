"""The page's API: each answer is one state of the ledger, over one connection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient

from pacsgrid.ledger import IngestKind, Ledger, PendingStudy
from pacsgrid.ledger import database as pools
from pacsgrid.ledger.series_choices import ContentWarning, NotWanted
from pacsgrid.model import AnonymisedInstance, ReplicaProof, StudyState
from pacsgrid.web.access import Viewer, the_site, viewer
from pacsgrid.web.app import app

INSTANCE = AnonymisedInstance("1", "2", "3", "S1", "CT", "4", "ab" * 32, 10, Path("x"))


@pytest.fixture
def page(dsn: str, tmp_path: Path) -> Iterator[TestClient]:
    project = SimpleNamespace(replication=SimpleNamespace(copies={"brno": 1}), profiles=())
    site = SimpleNamespace(
        ledger_dsn=dsn, quarantine=tmp_path, project=lambda name: project, returns={}
    )
    app.dependency_overrides[the_site] = lambda: site
    app.dependency_overrides[viewer] = lambda: Viewer("anna", ("demo",), True, True)
    yield TestClient(app)
    app.dependency_overrides.clear()


@pytest.fixture
def ledger(dsn: str) -> Ledger:
    ledger = Ledger(dsn, "tester")
    ledger.studies.add_found("a", "demo", "pacs", "hash", b"sealed")
    ledger.ingests.begin("in-1", "demo", "pacs", IngestKind.BACKFILL)
    ledger.worklist.assign("in-1", 2, [PendingStudy("a")])
    ledger.instances.add("a", [INSTANCE])
    ledger.proofs.add("a", [ReplicaProof("3", "brno", "disk", 0, "ab" * 32, True)])
    ledger.studies.hold("a", "conflict", "for the test")
    return ledger


@pytest.mark.parametrize(
    "path",
    [
        "flow",
        "held",
        "ingests",
        "replicas",
        "releases",
        "results",
        "studies",
        "studies/a",
        "withdrawals",
    ],
)
def test_an_answer_is_one_transaction_over_one_connection(
    page: TestClient, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    begun: list[str] = []
    take = pools._Pool.take

    def counted(pool: pools._Pool, first: str, values: pools.Values = ()) -> object:
        begun.append(first)
        return take(pool, first, values)

    monkeypatch.setattr(pools._Pool, "take", counted)
    answer = page.get(f"/api/{path}")
    assert answer.status_code == 200 and answer.json()
    assert len(begun) == 1


def test_a_study_s_story_is_told_to_those_who_may_see_it(page: TestClient, ledger: Ledger) -> None:
    ledger.audit.add_access("anna", "a", "picture 0")
    story = page.get("/api/studies/a").json()["story"]
    assert story["study"]["state"] == StudyState.HELD
    assert [held["code"] for held in story["held"]] == ["conflict"]
    assert [one["who"] for one in story["accesses"]] == ["anna"]
    assert page.get("/api/studies/b").status_code == 404
    assert page.get("/api/held?project=other").status_code == 404


def test_a_ledger_that_does_not_answer_is_told_and_may_be_tried_again(page: TestClient) -> None:
    away = SimpleNamespace(ledger_dsn="host=127.0.0.1 port=1 dbname=ledger")
    app.dependency_overrides[the_site] = lambda: away
    answer = page.get("/api/flow")
    assert answer.status_code == 503 and "does not answer" in answer.json()["detail"]


def test_an_ingest_is_paused_by_those_who_may_ingest(page: TestClient, ledger: Ledger) -> None:
    ledger.studies.add_found("b", "demo", "pacs", "hash", b"sealed")
    ledger.worklist.assign("in-1", 2, [PendingStudy("b")])
    (one,) = page.get("/api/ingests").json()
    assert (one["ingest"]["found"], one["ingest"]["held"], one["pending"]) == (2, 1, 1)
    paused = page.post("/api/ingests/in-1/pause").json()["ingest"]
    assert (paused["state"], paused["note"]) == ("paused", "paused by anna")
    assert page.post("/api/ingests/in-1/resume").json()["ingest"]["state"] == "running"
    assert page.post("/api/ingests/in-1/forget").status_code == 422
    assert page.post("/api/ingests/in-2/pause").status_code == 404
    app.dependency_overrides[viewer] = lambda: Viewer("eva", ("demo",), False, False)
    assert page.post("/api/ingests/in-1/pause").status_code == 403
    app.dependency_overrides[viewer] = lambda: Viewer("otto", ("other",), True, True)
    assert page.post("/api/ingests/in-1/pause").status_code == 404
    assert page.get("/api/ingests").json() == []


def test_what_is_not_wanted_and_what_checks_warn_of_is_shown(
    page: TestClient, ledger: Ledger
) -> None:
    left = [NotWanted("2.25.7", "CT", 120, "exclude 1"), NotWanted("2.25.8", "SR", 1, "include")]
    ledger.series.record("a", "demo", "hash", left, [])
    warnings = [ContentWarning("missing-slices", "2.25.9", "2 slices")]
    ledger.series.warn("a", "demo", warnings)
    flow = page.get("/api/flow").json()
    assert flow["not_wanted"] == {"series": 2, "instances": 121}
    assert flow["content_warnings"] == {"missing-slices": 1}
    story = page.get("/api/studies/a").json()["story"]
    assert [one["rule"] for one in story["not_wanted"]] == ["exclude 1", "include"]
    assert [one["detail"] for one in story["warnings"]] == ["2 slices"]
    ledger.series.record("a", "demo", "", [], [])
    ledger.series.warn("a", "demo", [])
    flow = page.get("/api/flow").json()
    assert flow["not_wanted"] == {"series": 0, "instances": 0} and not flow["content_warnings"]
    app.dependency_overrides[viewer] = lambda: Viewer("otto", ("other",), True, True)
    assert page.get("/api/studies/a").status_code == 404


def test_rules_about_series_are_checked_before_a_run_starts(page: TestClient) -> None:
    rules = {"include": ["modality=CT; slice_thickness<=1.5"], "exclude": ["description=scout"]}
    assert page.post("/api/series", json=rules).status_code == 200
    wrong = page.post("/api/series", json={"include": ["modality=CT", "description=(x"]})
    assert wrong.status_code == 422
    assert "include entry 2, description: is no regular expression" in wrong.json()["detail"]
    app.dependency_overrides[viewer] = lambda: Viewer("eva", ("demo",), False, False)
    assert page.post("/api/series", json=rules).status_code == 403


def test_studies_are_filtered_sorted_paged_and_found(page: TestClient, ledger: Ledger) -> None:
    for number in range(101):
        ledger.studies.add_found(f"st-abc{number:03}", "demo", "drop", "hash", b"sealed")
    asked = {"source": "drop", "order": "oldest"}
    first = page.get("/api/studies", params=asked).json()
    assert first["more"] and first["states"] == {"held": 1, "found": 101}
    last = first["rows"][-1]
    place = {"after": last["changed_at"], "ref": last["ref"]}
    rest = page.get("/api/studies", params=asked | place).json()
    refs = [row["ref"] for row in first["rows"] + rest["rows"]]
    assert not rest["more"] and len(set(refs)) == 101 == len(refs)
    largest = page.get("/api/studies?order=largest").json()["rows"]
    assert (largest[0]["ref"], largest[0]["size"], largest[0]["instances"]) == ("a", 10, 1)
    place = {"order": "largest", "after": largest[0]["size"], "ref": "a"}
    assert page.get("/api/studies", params=place).json()["rows"][0]["size"] == 0
    found = page.get("/api/studies?find=st-abc09").json()["rows"]
    assert [row["ref"] for row in found] == [f"st-abc{number:03}" for number in range(90, 100)]
    for wrong in ("find=st-%25", "order=largest&after=x", "after=yesterday", "state=lost"):
        assert page.get(f"/api/studies?{wrong}").status_code == 422


def test_held_studies_and_files_are_listed_and_counted_apart(
    page: TestClient, ledger: Ledger
) -> None:
    for number in range(101):
        ledger.held.add("a", "truncated", "for the test", f"f{number}")
        ledger.studies.add_found(f"b{number}", "demo", "drop", "hash", b"sealed")
        ledger.held.add(f"b{number}", "burned-in", "for the test", "x")
    seen: list[str] = []
    place = {"reason": "burned-in", "order": "newest"}
    while True:
        answer = page.get("/api/held", params=place).json()
        seen += [row["ref"] for row in answer["rows"]]
        if not answer["more"]:
            break
        place |= {name: answer["rows"][-1][name] for name in ("since", "ref", "code")}
    assert seen == [f"b{number}" for number in reversed(range(101))]
    assert answer["counts"] == {"studies": 1, "files": 202}
    assert answer["reasons"]["truncated"] == {"studies": 0, "files": 101}
    (whole,) = page.get("/api/held?kind=study").json()["rows"]
    assert (whole["ref"], whole["code"]) == ("a", "conflict")
    assert not any(row["whole"] for row in page.get("/api/held?kind=file").json()["rows"])
    flow = page.get("/api/flow").json()
    assert flow["held_reasons"]["conflict"] == {"studies": 1, "files": 0}
