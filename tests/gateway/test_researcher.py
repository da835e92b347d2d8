"""A researcher asks at the gateway, a steward grants, the clock moves, and access is gone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.testclient import TestClient

from pacsgrid.embedded.stack import Stack
from pacsgrid.gateway import Gateway
from pacsgrid.gateway.service import application
from pacsgrid.grid.fetch import fetch_release
from pacsgrid.grid.zone import Zone
from pacsgrid.ledger import Ledger
from pacsgrid.model import StudyQuery
from pacsgrid.pipeline import STEPS, ProjectContext, find_studies, run_step
from pacsgrid.pipeline.cohorts import Cohort, select_cohort
from pacsgrid.pipeline.grants import approve_grant, settle_grants
from pacsgrid.pipeline.release import release_cohort
from support.dicom import ct
from support.zones_under_test import bare_stack

WEEK, WHY = timedelta(days=7), "a study of nodules, vote 7/2026"
PAGE = '<!doctype html><script>window.PUBLIC_URL="/"</script><script src="/app.js"></script>'


@dataclass
class Clock:
    """The time that the gateway is told."""

    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.at


@dataclass
class Door:
    stack: Stack
    gateway: Gateway
    clock: Clock
    client: TestClient

    def get(self, path: str) -> Any:
        return self.client.get(path).json()

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self.client.post(f"/researcher/api/{path}", json=body)

    def sign_in(self, name: str = "eva") -> None:
        assert self.post("session", {"token": f"token of {name}"}).status_code == 200

    def ask(self, version: int = 1) -> str:
        until = (self.clock() + WEEK).isoformat()
        body = {"project": "demo", "release": "heads", "version": version,
                "purpose": WHY, "until": until}  # fmt: skip
        answer = self.post("grants", body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def approve(self, name: str, until: datetime) -> None:
        with ProjectContext(self.stack.site, "demo") as context:
            grant = context.ledger.grants.get(name)
            assert grant is not None
            assert approve_grant(context, grant, until, "anna", "", self.clock())

    def found(self) -> int:
        return len(self.client.get("/dicom-web/studies").json())

    def fetched(self, folder: Path) -> int:
        """Return how many files the researcher gets from iRODS itself."""
        settings = self.stack.site.zone("brno").replace(user="eva", password="secret-of-eva")
        with Zone(settings) as eva:
            try:
                fetch_release(eva, "/brno/home/demo/releases/heads/v1", folder)
            except Exception:
                return 0
        return len(list(folder.rglob("*.dcm")))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("door")
    with bare_stack(folder / "stack") as stack:
        for number in (1, 2):
            ct(stack.drop / f"{number}.dcm", f"1.2.{number}", f"1.2.{number}.1",
               patient_id=f"P{number}")  # fmt: skip
        with ProjectContext(stack.site, "demo") as context:
            refs = find_studies(context, "drop", StudyQuery())
            for name in STEPS:
                refs = run_step(context, name, refs).refs
            for name in ("eva", "jan"):
                user = context.home.session.users.create(name, "rodsuser")
                user.modify("password", f"secret-of-{name}")
            members = select_cohort(context, Cohort(("Modality = CT",)))
            release_cohort(context, "heads", members)
        (folder / "viewer").mkdir()
        (folder / "viewer" / "index.html").write_text(PAGE)
        (folder / "viewer" / "app.js").write_text('__webpack_require__.p = "/";')
        (folder / "viewer" / "plain.js").write_text('p = "/";')
        (folder / "viewer" / "app.css").write_text("a{src:url(/font.woff2)}")
        (folder / "outside.js").write_text("secret")
        file = stack.dir / "site.yaml"
        site = yaml.safe_load(file.read_text())
        site["projects"]["demo"]["requests"] = {"smallest_count": 5}
        site["gateway"] |= {
            "serve": [{"zone": "brno"}],
            "access_seconds": 3600,
            "viewer": str(folder / "viewer"),
            "tokens": [
                {"name": name, "user": f"{name}#brno", "store": True,
                 "sha256": hashlib.sha256(f"token of {name}".encode()).hexdigest()}
                for name in ("eva", "jan")
            ],
        }  # fmt: skip
        file.write_text(yaml.safe_dump(site))
        yield stack


@pytest.fixture
def door(stack: Stack) -> Iterator[Door]:
    clock = Clock()
    with Gateway(stack.site, clock) as gateway:
        gateway.refresh()
        yield Door(stack, gateway, clock, TestClient(application(gateway)))
    with ProjectContext(stack.site, "demo") as context:
        settle_grants(context, datetime.now(UTC) + 10 * WEEK)
        for grant in context.ledger.grants.of_projects(["demo"]):
            if grant.state == "requested":
                context.ledger.grants.end(grant.id, "test", "")


def test_asked_granted_and_over_when_the_clock_says_so(door: Door, tmp_path: Path) -> None:
    assert door.client.get("/researcher/api/releases").status_code == 401
    door.sign_in()
    before = door.get("/researcher/api/releases")
    assert before["readable"] == [] and door.found() == 0
    (offered,) = before["offered"]
    assert (offered["name"], offered["version"], offered["smallest"]) == ("heads", 1, 5)
    assert {offered[key] for key in ("subjects", "studies", "instances", "size")} == {None}
    name = door.ask()
    (asked,) = door.get("/researcher/api/grants")
    assert (asked["id"], asked["state"]) == (name, "requested")
    until = door.clock() + WEEK
    door.approve(name, until)
    door.gateway.access._known.clear()  # what was asked for a moment ago
    (readable,) = door.get("/researcher/api/releases")["readable"]
    assert (readable["studies"], readable["grant"]) == (2, name)
    assert readable["lines"]["pacsgrid"] == f"pacsgrid fetch {readable['path']} heads-v1"
    studies = door.get("/researcher/api/releases/demo/heads/1/studies")
    assert len(studies) == 2 and door.found() == 2
    shown = f"/dicom-web/studies/{studies[0]}/metadata"
    assert door.client.get(shown).status_code == 200
    assert door.fetched(tmp_path / "during") == 2

    door.clock.at = until - timedelta(seconds=1)
    assert door.found() == 2
    # The rights are still in the catalog, and the gateway remembers them for an hour.
    door.clock.at = until
    assert door.found() == 0 and door.client.get(shown).status_code == 404
    assert door.get("/researcher/api/releases")["readable"] == []
    assert door.client.get("/researcher/api/releases/demo/heads/1/studies").status_code == 404
    assert door.get("/researcher/api/grants")[0]["state"] == "ended"
    with ProjectContext(door.stack.site, "demo") as context:
        assert settle_grants(context, door.clock()) == 1
    assert door.fetched(tmp_path / "after") == 0


def test_a_researcher_sees_and_ends_their_own_requests_only(door: Door) -> None:
    door.sign_in()
    name = door.ask()
    door.sign_in("jan")
    assert door.get("/researcher/api/grants") == []
    assert door.post(f"grants/{name}/end", {}).status_code == 404
    door.sign_in()
    assert door.post(f"grants/{name}/end", {}).status_code == 200
    events = Ledger(door.stack.site.ledger_dsn).grants.events(name)
    assert [(event.what, event.who) for event in events] == [
        ("requested", "eva#brno"), ("ended", "eva#brno")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"project": "other"}, 404),
        ({"release": "../heads"}, 422),
        ({"version": "1"}, 422),
        ({"version": 2}, 422),
        ({"purpose": "x"}, 422),
        ({"until": "tomorrow"}, 422),
        ({"until": "2020-01-01T00:00:00Z"}, 422),
        ({"until": "2030-01-01"}, 422),
    ],
)
def test_a_wrong_request_is_refused_with_a_reason(
    door: Door, change: dict[str, Any], status: int
) -> None:
    door.sign_in()
    until = (door.clock() + WEEK).isoformat()
    body = {"project": "demo", "release": "heads", "version": 1, "purpose": WHY, "until": until}
    answer = door.post("grants", body | change)
    assert answer.status_code == status and answer.json()["detail"]


def test_the_cookie_reads_and_never_stores(door: Door) -> None:
    assert door.post("session", {"token": "wrong"}).status_code == 401
    set_cookie = door.post("session", {"token": "token of eva"}).headers["set-cookie"]
    assert "HttpOnly" in set_cookie and "SameSite=strict" in set_cookie
    assert door.client.get("/dicom-web/studies").status_code == 200
    body = {"content": b"x", "headers": {"Content-Type": "application/dicom"}}
    assert door.client.post("/dicom-web/studies", **body).status_code == 403  # type: ignore[arg-type]
    # A form of another site cannot send JSON.
    form = door.client.post("/researcher/api/grants", data={"project": "demo"})
    assert form.status_code == 415
    assert door.client.post("/researcher/api/session", content="[", headers={
        "Content-Type": "application/json"}).status_code == 400  # fmt: skip
    assert door.client.post("/researcher/api/grants", json={"a": "x" * 20000}).status_code == 413
    assert door.post("session/end", {}).status_code == 200
    assert door.client.get("/dicom-web/studies").status_code == 401


def test_a_project_that_takes_no_requests_offers_nothing(door: Door) -> None:
    door.sign_in()
    demo = door.gateway.site.projects["demo"]
    door.gateway.site.projects["demo"] = demo.replace(requests=None)  # type: ignore[index]
    try:
        assert door.get("/researcher/api/releases")["offered"] == []
        body = {"project": "demo", "release": "heads", "version": 1}
        assert door.post("grants", body).status_code == 404
    finally:
        door.gateway.site.projects["demo"] = demo  # type: ignore[index]


def test_large_counts_are_told(door: Door) -> None:
    door.sign_in()
    demo = door.gateway.site.projects["demo"]
    few = demo.requests.replace(smallest_count=2)  # type: ignore[union-attr]
    door.gateway.site.projects["demo"] = demo.replace(requests=few)  # type: ignore[index]
    try:
        (offered,) = door.get("/researcher/api/releases")["offered"]
        assert (offered["subjects"], offered["studies"], offered["instances"]) == (2, 2, 2)
    finally:
        door.gateway.site.projects["demo"] = demo  # type: ignore[index]


def test_the_viewer_is_for_those_who_are_signed_in(door: Door) -> None:
    client = door.client
    strange = client.get("/viewer/viewer?StudyInstanceUIDs=1.2", follow_redirects=False)
    assert strange.status_code == 303
    assert strange.headers["location"] == (
        "/researcher/?next=%2Fviewer%2Fviewer%3FStudyInstanceUIDs%3D1.2"
    )
    door.sign_in()
    page = client.get("/viewer/viewer?StudyInstanceUIDs=1.2")
    assert page.status_code == 200 and 'src="/viewer/app.js"' in page.text
    assert 'PUBLIC_URL="/viewer/"' in page.text
    settings = client.get("/viewer/app-config.js").text
    assert '"qidoRoot": "/dicom-web"' in settings and '"routerBasename": "/viewer"' in settings
    script = client.get("/viewer/app.js")
    assert script.headers["cache-control"].startswith("public")
    assert script.text == '__webpack_require__.p = "/viewer/";'
    assert client.get("/viewer/app.css").text == "a{src:url(/viewer/font.woff2)}"
    assert client.get("/viewer/plain.js").text == 'p = "/";'
    for outside in ("../outside.js", "%2e%2e/outside.js", "..%2foutside.js", "no.js"):
        assert client.get(f"/viewer/{outside}").status_code == 404


def test_the_researcher_s_page_is_served_without_a_token(door: Door) -> None:
    page = door.client.get("/researcher/")
    assert page.status_code == 200 and "static/page.js" in page.text
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert door.client.get("/researcher/static/page.js").status_code == 200
