"""Stewards answer researchers over the page's API; the home zone is away in these tests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from fastapi.testclient import TestClient

from pacsgrid.config import Site, load_site
from pacsgrid.embedded.ports import reserve_port
from pacsgrid.ledger import Ledger
from pacsgrid.web.access import Viewer, the_site, viewer
from pacsgrid.web.app import app

UNTIL = datetime.now(UTC) + timedelta(days=7)
STEWARD = Viewer("anna", ("demo",), ingests=False, reviews=False, releases=True)


@pytest.fixture
def site(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    for name in ("vault", "demo"):
        (tmp_path / f"{name}.key").write_bytes(b"k" * 32)
    zone = {"host": "127.0.0.1", "port": reserve_port(), "user": "rods", "password_env": "SECRET"}
    project = {"profile": "basic", "home_zone": "brno", "key_file": str(tmp_path / "demo.key")}
    document = {
        **{room: str(tmp_path / room) for room in ("staging", "outbox", "quarantine")},
        "vault_key_file": str(tmp_path / "vault.key"),
        "sources": {},
        "zones": {"brno": zone},
        "projects": {"demo": project, "other": project},
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
    ledger.releases.add("demo", "heads", 1, "ab", [])
    ledger.releases.add("other", "heads", 1, "ab", [])
    return ledger


def ask(ledger: Ledger, project: str = "demo", researcher: str = "eva#brno") -> str:
    return ledger.grants.ask(project, "heads", 1, researcher, "a study of nodules", UNTIL)


def as_user(who: Viewer) -> None:
    app.dependency_overrides[viewer] = lambda: who


def test_a_request_is_granted_though_the_zone_is_away(page: TestClient, ledger: Ledger) -> None:
    name = ask(ledger)
    (entry,) = page.get("/api/grants").json()["grants"]
    assert (entry["state"], entry["grant"]["researcher"]) == ("requested", "eva#brno")
    answer = page.post(f"/api/grants/{name}/approve", json={"until": UNTIL.isoformat()})
    assert answer.status_code == 200 and answer.json()["settled"] is False
    (entry,) = page.get("/api/grants?project=demo").json()["grants"]
    assert (entry["state"], entry["grant"]["rights"]) == ("granted", "setting")
    assert [(e["what"], e["who"]) for e in entry["events"]] == [
        ("requested", "eva#brno"), ("granted", "anna")
    ]  # fmt: skip
    assert (
        page.post(f"/api/grants/{name}/refuse", json={"reason": "too late now"}).status_code == 422
    )
    assert page.post(f"/api/grants/{name}/end", json={}).status_code == 200
    assert page.post(f"/api/grants/{name}/end", json={}).status_code == 422


@pytest.mark.parametrize(
    ("verdict", "body"),
    [
        ("approve", {}),
        ("approve", {"until": "2020-01-01T00:00:00Z"}),
        ("approve", {"until": "2100-01-01T00:00:00Z"}),
        ("refuse", {"reason": "no"}),
        ("forget", {}),
    ],
)
def test_what_cannot_be_done_is_refused(
    page: TestClient, ledger: Ledger, verdict: str, body: dict[str, str]
) -> None:
    name = ask(ledger)
    assert page.post(f"/api/grants/{name}/{verdict}", json=body).status_code == 422
    grant = ledger.grants.get(name)
    assert grant is not None and grant.state == "requested"


def test_only_stewards_of_the_project_answer(page: TestClient, ledger: Ledger) -> None:
    mine, other = ask(ledger), ask(ledger, "other")
    body = {"until": UNTIL.isoformat()}
    assert page.post(f"/api/grants/{other}/approve", json=body).status_code == 404
    assert page.post("/api/grants/gr-0/approve", json=body).status_code == 404
    assert page.get("/api/grants?project=other").status_code == 404
    assert [one["grant"]["id"] for one in page.get("/api/grants").json()["grants"]] == [mine]
    as_user(Viewer("guest", ("demo",), ingests=True, reviews=True))
    assert page.post(f"/api/grants/{mine}/approve", json=body).status_code == 403


def test_pages_follow_each_other(page: TestClient, ledger: Ledger) -> None:
    names = {ask(ledger, researcher=f"eva{number}#brno") for number in range(150)}
    first = page.get("/api/grants").json()
    last = first["grants"][-1]["grant"]
    after = {"before": last["made_at"], "id": last["id"]}
    second = page.get("/api/grants", params=after).json()
    assert (len(first["grants"]), first["more"], second["more"]) == (100, True, False)
    assert {one["grant"]["id"] for one in first["grants"] + second["grants"]} == names


def test_a_patient_is_named_for_a_withdrawal_by_those_who_may_withdraw(
    page: TestClient, ledger: Ledger, site: Site
) -> None:
    body = {"project": "demo", "purpose": "withdrawal", "patient_ids": ["756203/1234"]}
    assert page.post("/api/selections", json=body).status_code == 403
    as_user(Viewer("anna", ("demo",), ingests=False, reviews=False, withdraws=True))
    name = page.post("/api/selections", json=body).json()["selection"]
    assert ledger.selections.maker(name) == "anna"
    assert page.post("/api/selections", json=body | {"purpose": "ingest"}).status_code == 403
