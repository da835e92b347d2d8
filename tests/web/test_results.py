"""Stewards see the results that came back and decide about them over the page's API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from fastapi.testclient import TestClient

from pacsgrid.config import Site, load_site
from pacsgrid.ledger import Ledger
from pacsgrid.web.access import Viewer, the_site, viewer
from pacsgrid.web.app import app

STEWARD = Viewer("anna", ("demo",), ingests=False, reviews=False, releases=True, returns=True)
SEG, SR = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.33"


@pytest.fixture
def site(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    for name in ("vault", "demo"):
        (tmp_path / f"{name}.key").write_bytes(b"k" * 32)
    zone = {"host": "127.0.0.1", "port": 1247, "user": "rods", "password_env": "SECRET"}
    project = {"profile": "basic", "home_zone": "brno", "key_file": str(tmp_path / "demo.key")}
    document = {
        **{room: str(tmp_path / room) for room in ("staging", "outbox", "quarantine")},
        "vault_key_file": str(tmp_path / "vault.key"),
        "sources": {},
        "zones": {"brno": zone},
        "projects": {"demo": project, "other": project},
        "returns": {"archive": {"ae_title": "ARCHIVE", "host": "127.0.0.1", "port": 104}},
    }
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(document))
    monkeypatch.setenv("PACSGRID_LEDGER_DSN", dsn)
    monkeypatch.setenv("SECRET", "x")
    return load_site(tmp_path / "site.yaml")


@pytest.fixture
def page(site: Site) -> Iterator[TestClient]:
    app.dependency_overrides[the_site] = lambda: site
    app.dependency_overrides[viewer] = lambda: STEWARD
    yield TestClient(app)
    app.dependency_overrides.clear()


@pytest.fixture
def ledger(site: Site) -> Ledger:
    ledger = Ledger(site.ledger_dsn)
    for project in ("demo", "other"):
        ledger.studies.add_found(project, project, "pacs", "hash", b"sealed")
    return ledger


def came_back(ledger: Ledger, ref: str, study: str = "demo") -> None:
    ledger.results.add(ref, study, f"result of {ref}", b"sealed")
    ledger.results.add_items(
        ref, "eva#brno", [(f"{ref}.1", SEG, "nodule-net"), (f"{ref}.2", SEG, ""), (ref, SR, "")]
    )


def test_a_result_is_listed_with_its_kinds_and_who_sent_it(
    page: TestClient, ledger: Ledger
) -> None:
    came_back(ledger, "r1")
    came_back(ledger, "r2", "other")
    answer = page.get("/api/results").json()
    assert answer["destinations"] == ["archive"] and not answer["more"]
    (one,) = answer["results"]
    assert one["kinds"] == ["2 × Segmentation", "Comprehensive SR"]
    result = one["result"]
    assert (result["ref"], result["study_ref"], result["standing"]) == ("r1", "demo", "waiting")
    assert (result["senders"], result["software"]) == (["eva#brno"], ["nodule-net"])
    assert page.get("/api/results?project=other").status_code == 404


def test_a_steward_decides_and_each_decision_is_on_record(page: TestClient, ledger: Ledger) -> None:
    came_back(ledger, "r1")
    assert page.post("/api/results/r1/release", json={"reason": " "}).status_code == 422
    assert page.get("/api/results?standing=waiting").json()["results"]
    for verdict, standing in (("release", "released"), ("withhold", "withheld")):
        done = page.post(f"/api/results/r1/{verdict}", json={"reason": f"to {verdict}"})
        assert done.status_code == 200, done.text
        (one,) = page.get(f"/api/results?standing={standing}").json()["results"]
        assert (one["result"]["decided_by"], one["result"]["reason"]) == ("anna", f"to {verdict}")
        assert page.get("/api/results?standing=waiting").json()["results"] == []
        record = ledger.results.get("r1")
        assert record is not None and record.released is (verdict == "release")
    assert [one.verdict for one in ledger.audit.decisions("r1")] == [
        "release-result",
        "withhold-result",
    ]


def test_only_those_who_release_decide_and_in_their_projects(
    page: TestClient, ledger: Ledger
) -> None:
    came_back(ledger, "r1")
    came_back(ledger, "r2", "other")
    why = {"reason": "read by a radiologist"}
    assert page.post("/api/results/r2/release", json=why).status_code == 404
    assert page.post("/api/results/r3/release", json=why).status_code == 404
    app.dependency_overrides[viewer] = lambda: Viewer("eva", ("demo",), True, True)
    assert page.post("/api/results/r1/release", json=why).status_code == 403
    assert ledger.audit.decisions("r1") == []


def test_pages_of_results_join_and_leave_out_withdrawn_patients(
    page: TestClient, ledger: Ledger
) -> None:
    with ledger.database.transaction():  # one time for all: references decide the order
        for number in range(52):
            came_back_of(ledger, f"r{number:02}")
    ledger.database.run("UPDATE pacsgrid.study SET state = 'withdrawn' WHERE ref = 'r51'")
    first = page.get("/api/results").json()
    last = first["results"][-1]["result"]
    place = {"before": last["created_at"], "ref": last["ref"]}
    rest = page.get("/api/results", params=place).json()
    refs = [one["result"]["ref"] for one in first["results"] + rest["results"]]
    assert refs == [f"r{number:02}" for number in reversed(range(51))]
    assert first["more"] and not rest["more"]


def came_back_of(ledger: Ledger, ref: str) -> None:
    study = f"study of {ref}"
    ledger.studies.add_found(study, "demo", "pacs", "hash", b"sealed")
    came_back(ledger, ref, study)
