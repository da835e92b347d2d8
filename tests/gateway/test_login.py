"""People and programs of an OpenID Connect provider at the gateway, and in the zone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import yaml
from starlette.testclient import TestClient

from pacsgrid.cli import main
from pacsgrid.embedded.stack import Stack
from pacsgrid.gateway import Gateway
from pacsgrid.gateway.service import application
from pacsgrid.grid.sharing import is_reader, share, unshare
from pacsgrid.ledger import Ledger
from pacsgrid.model import StudyQuery
from pacsgrid.pipeline import STEPS, ProjectContext, find_studies, run_step
from pacsgrid.pipeline.cohorts import Cohort, select_cohort
from pacsgrid.pipeline.grants import approve_grant, request_grant
from pacsgrid.pipeline.logins import Logins
from pacsgrid.pipeline.release import release_cohort
from support.dicom import ct
from support.oidc_provider import CLIENT, SECRET, OidcProvider
from support.zones_under_test import bare_stack

HOST = "https://grid.example.org"


@dataclass
class Clock:
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.at

    def pass_minutes(self, minutes: float) -> None:
        self.at += timedelta(minutes=minutes)


@dataclass
class Door:
    """A gateway whose clock and whose provider's clock are one."""

    stack: Stack
    oidc: OidcProvider
    gateway: Gateway
    clock: Clock
    since: datetime = field(default_factory=lambda: datetime.now(UTC))

    def browser(self) -> TestClient:
        return TestClient(application(self.gateway), base_url=HOST, follow_redirects=False)

    def log_in(self, browser: TestClient, name: str, **query: str) -> Any:
        """Log in as a browser does; gives the last answer."""
        sent = browser.get("/researcher/login", params=query)
        assert sent.status_code == 303, sent.text
        back = requests.get(f"{sent.headers['location']}&as={name}", allow_redirects=False)
        assert back.status_code == 302, back.text
        return browser.get(back.headers["location"].removeprefix(HOST))

    def bearer(self, token: str, path: str = "/dicom-web/studies") -> Any:
        return self.browser().get(path, headers={"Authorization": f"Bearer {token}"})

    def check(self) -> Any:
        return Logins(self.stack.site, self.clock).check()

    def reads(self, user: str) -> bool:
        with ProjectContext(self.stack.site, "demo") as context:
            return is_reader(context.home, "demo", user)

    def events(self, name: str) -> list[str]:
        found = Ledger(self.stack.site.ledger_dsn).logins.events(
            self.oidc.issuer, self.oidc.people[name].subject
        )
        return [one.what for one in found if one.at >= self.since]


@pytest.fixture(scope="module")
def oidc() -> Iterator[OidcProvider]:
    with OidcProvider() as provider:
        yield provider


@pytest.fixture(scope="module")
def stack(oidc: OidcProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("login")
    with bare_stack(folder / "stack") as stack:
        ct(stack.drop / "1.dcm", "1.2.1", "1.2.1.1", patient_id="P1")
        with ProjectContext(stack.site, "demo") as context:
            refs = find_studies(context, "drop", StudyQuery())
            for name in STEPS:
                refs = run_step(context, name, refs).refs
            for name in ("eva", "jan", "robot"):
                context.home.session.users.create(name, "rodsuser")
            share(context.home, "demo", ["robot#brno"])
            release_cohort(context, "heads", select_cohort(context, Cohort(("Modality = CT",))))
        (folder / "viewer").mkdir()
        (folder / "viewer" / "index.html").write_text("<!doctype html>viewer")
        (folder / "secret").write_text(SECRET + "\n")
        file = stack.dir / "site.yaml"
        site = yaml.safe_load(file.read_text())
        site["gateway"] |= {
            "serve": [{"zone": "brno"}],
            "access_seconds": 0.001,
            "viewer": str(folder / "viewer"),
            "public_url": f"{HOST}/dicom-web",
        }
        site["login"] = {
            "issuer": oidc.issuer,
            "client_id": CLIENT,
            "client_secret_file": str(folder / "secret"),
            "user_claim": "preferred_username",
            "user_zone": "brno",
            "groups": [
                {"group": "readers", "role": "researcher", "project": "demo"},
                {"group": "guests", "role": "researcher"},
                {"group": "senders", "role": "researcher", "store": True},
                {"group": "stewards", "role": "steward", "project": "demo"},
            ],
            "service_accounts": [{"subject": "service-nightly", "user": "robot#brno"}],
        }
        file.write_text(yaml.safe_dump(site))
        yield stack


@pytest.fixture
def door(stack: Stack, oidc: OidcProvider) -> Iterator[Door]:
    clock = Clock()
    oidc.people.clear()
    oidc.silent, oidc.refreshes, oidc.groups_in_id_token = False, True, True
    oidc.now = lambda: clock().timestamp()
    with Gateway(stack.site, clock) as gateway:
        gateway.refresh()
        yield Door(stack, oidc, gateway, clock)
    # Whatever a test leaves ends with the day.
    clock.pass_minutes(60 * 24)
    Logins(stack.site, clock).check()


def found(answer: Any) -> int:
    assert answer.status_code == 200, answer.text
    return len(answer.json())


def test_a_person_logs_in_reads_and_logs_out(door: Door) -> None:
    who = door.oidc.add("eva", "readers", "elsewhere")
    browser = door.browser()
    assert browser.get("/researcher/api/ways").json() == {"provider": True, "token": True}
    target = "/viewer/viewer?StudyInstanceUIDs=1.2.3&x=1"
    last = door.log_in(browser, "eva", next=target)
    assert last.status_code == 200 and "StudyInstanceUIDs=1.2.3&amp;x=1" in last.text
    cookie = next(c for c in last.headers.get_list("set-cookie") if c.startswith("pacsgrid_login="))
    assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Secure"))
    assert browser.get("/researcher/api/me").json()["user"] == "eva#brno"
    assert found(browser.get("/dicom-web/studies")) == 1
    assert browser.get("/viewer/viewer").text.startswith("<!doctype html>")
    assert door.reads("eva#brno")
    # With a cookie nothing is stored.
    body = {"content": b"x", "headers": {"Content-Type": "application/dicom"}}
    assert browser.post("/dicom-web/studies", **body).status_code == 403  # type: ignore[arg-type]
    assert browser.post("/researcher/api/session/end", json={}).status_code == 200
    assert not door.reads("eva#brno")
    browser.cookies.set("pacsgrid_login", cookie.partition("=")[2].partition(";")[0])
    assert browser.get("/dicom-web/studies").status_code == 401
    assert door.events("eva") == ["logged in", "reader", "logged out", "no reader"]
    told = Ledger(door.stack.site.ledger_dsn).logins.events(door.oidc.issuer, who.subject)
    assert "gateway: readers" in {one.detail for one in told}


def test_a_stranger_is_sent_to_log_in_and_nowhere_else(door: Door) -> None:
    door.oidc.add("eva", "readers")
    browser = door.browser()
    sent = browser.get("/viewer/viewer?StudyInstanceUIDs=1.2.3")
    assert sent.status_code == 303 and "/researcher/?next=%2Fviewer%2F" in sent.headers["location"]
    for target in (
        "https://evil.example",
        "//evil.example/viewer/",
        "/viewer/\\evil",
        "/viewer/../x",
        "/viewer/\x0d\x0aX",
    ):
        last = door.log_in(door.browser(), "eva", next=target)
        assert 'content="0;url=/researcher/"' in last.text


def test_an_answer_of_another_login_is_refused(door: Door) -> None:
    door.oidc.add("eva", "readers")
    mine, other = door.browser(), door.browser()
    sent = mine.get("/researcher/login").headers["location"]
    asked = parse_qs(urlsplit(sent).query)
    assert asked["code_challenge_method"] == ["S256"]
    back = requests.get(f"{sent}&as=eva", allow_redirects=False).headers["location"]
    path = back.removeprefix(HOST)
    assert other.get(path).status_code == 401  # no cookie of this login
    other.get("/researcher/login")
    assert other.get(path).status_code == 401  # that of another one
    assert "access_denied" in mine.get(path.partition("code=")[0] + "error=access_denied&"
                                       f"state={asked['state'][0]}").text  # fmt: skip
    assert mine.get(path + "x").status_code == 401
    assert mine.get(path).status_code == 200
    assert mine.get(path).status_code == 401  # a code works once
    assert "pacsgrid_login" in mine.cookies


def test_who_has_no_right_is_told_so(door: Door) -> None:
    for name, groups in (("eva", ["elsewhere"]), ("jan", ["stewards"]), ("rods", ["readers"]),
                         ("petr", [])):  # fmt: skip
        door.oidc.add(name, *groups)
        browser = door.browser()
        last = door.log_in(browser, name)
        assert last.status_code == 403 and "steward" in last.text
        assert "pacsgrid_login" not in browser.cookies
        assert door.bearer(door.oidc.token_of(name)).status_code == 403
        assert door.events(name) == ["refused"]


def test_a_first_login_creates_nothing(door: Door) -> None:
    door.oidc.add("nova", "readers")
    browser = door.browser()
    assert door.log_in(browser, "nova").status_code == 200
    assert found(browser.get("/dicom-web/studies")) == 0
    with ProjectContext(door.stack.site, "demo") as context:
        assert "nova" not in {row for row in _users(context)}
    door.gateway.site.login.__dict__["create_users"] = True  # type: ignore[union-attr]
    try:
        assert door.log_in(browser, "nova").status_code == 200
        assert found(browser.get("/dicom-web/studies")) == 1
    finally:
        door.gateway.site.login.__dict__["create_users"] = False  # type: ignore[union-attr]
    with ProjectContext(door.stack.site, "demo") as context:
        assert "nova" in {row for row in _users(context)}


def _users(context: ProjectContext) -> list[str]:
    from irods.models import User

    return [row[User.name] for row in context.home.rows((User.name,), User.type == "rodsuser")]


def test_leaving_the_group_ends_access_everywhere(door: Door) -> None:
    who = door.oidc.add("eva", "readers")
    browser = door.browser()
    door.log_in(browser, "eva")
    token = door.oidc.token_of("eva", exp=int(door.clock().timestamp()) + 3000)
    assert found(browser.get("/dicom-web/studies")) == found(door.bearer(token)) == 1
    with ProjectContext(door.stack.site, "demo") as context:
        until = door.clock() + timedelta(days=7)
        name = request_grant(
            context, "heads", 1, "eva#brno", "a study of nodules", until, door.clock()
        )
        grant = context.ledger.grants.get(name)
        assert grant and approve_grant(context, grant, until, "anna", "", door.clock())
    who.groups.clear()
    door.clock.pass_minutes(6)
    report = door.check()
    assert (report.ended, report.readers, report.failures) == (1, 1, ())
    assert not door.reads("eva#brno")
    with ProjectContext(door.stack.site, "demo") as context:
        ended = context.ledger.grants.get(name)
        assert ended and (str(ended.state), ended.rights) == ("ended", "none")
    assert browser.get("/dicom-web/studies").status_code == 401
    # The token still says that she is in the group.
    assert "before its subject left" in door.bearer(token).json()["detail"]
    assert door.events("eva") == ["logged in", "reader", "grant ended", "left", "no reader"]
    # Back in the group, she starts anew.
    who.groups.append("readers")
    door.clock.pass_minutes(1)
    assert door.log_in(browser, "eva").status_code == 200
    assert found(browser.get("/dicom-web/studies")) == 1


def test_a_request_asks_the_provider_again_by_itself(door: Door) -> None:
    who = door.oidc.add("eva", "readers", "guests")
    browser = door.browser()
    door.log_in(browser, "eva")
    who.groups.remove("readers")
    door.clock.pass_minutes(6)
    door.gateway.access._known.clear()
    fresh = door.browser()  # another gateway of the site remembers nothing
    fresh.cookies = browser.cookies
    assert fresh.get("/researcher/api/me").status_code == 200
    assert "groups" in door.events("eva")
    door.check()
    assert not door.reads("eva#brno")
    assert found(fresh.get("/dicom-web/studies")) == 0
    who.groups.clear()
    door.clock.pass_minutes(6)
    third = door.browser()
    third.cookies = browser.cookies
    assert third.get("/researcher/api/me").status_code == 401
    assert door.events("eva")[-1] == "left"


def test_a_session_that_ends_at_the_provider_ends_here(door: Door) -> None:
    door.oidc.add("eva", "readers")
    browser = door.browser()
    door.log_in(browser, "eva")
    door.oidc.end_refresh_tokens()
    door.clock.pass_minutes(6)
    assert door.check().ended == 1
    assert browser.get("/researcher/api/me").status_code == 401
    assert not door.reads("eva#brno") and "ended" in door.events("eva")


def test_a_silent_provider_ends_nothing_at_once(door: Door) -> None:
    door.oidc.add("eva", "readers")
    browser = door.browser()
    door.log_in(browser, "eva")
    door.oidc.silent = True
    door.clock.pass_minutes(30)
    report = door.check()
    assert report.unanswered == 1 and report.failures and door.reads("eva#brno")
    again = door.browser()
    again.cookies = browser.cookies
    assert found(again.get("/dicom-web/studies")) == 1
    assert door.browser().get("/researcher/login").status_code in (303, 503)
    door.clock.pass_minutes(40)
    door.check()
    assert not door.reads("eva#brno")
    third = door.browser()
    third.cookies = browser.cookies
    assert third.get("/dicom-web/studies").status_code == 503
    door.oidc.silent = False
    door.check()
    assert door.reads("eva#brno") and found(third.get("/dicom-web/studies")) == 1


def test_without_refresh_tokens_a_login_is_short(door: Door) -> None:
    door.oidc.refreshes, door.oidc.groups_in_id_token = False, False
    door.oidc.add("eva", "readers")
    browser = door.browser()
    door.log_in(browser, "eva")  # the groups come from the userinfo endpoint
    door.clock.pass_minutes(14)
    door.check()
    assert found(browser.get("/dicom-web/studies")) == 1
    door.clock.pass_minutes(2)
    assert browser.get("/dicom-web/studies").status_code == 401
    door.check()
    assert not door.reads("eva#brno")


def test_readers_whom_a_steward_made_stay(door: Door) -> None:
    with ProjectContext(door.stack.site, "demo") as context:
        share(context.home, "demo", ["jan#brno"])
    try:
        door.oidc.add("jan", "readers")
        browser = door.browser()
        door.log_in(browser, "jan")
        browser.post("/researcher/api/session/end", json={})
        assert door.reads("jan#brno")
    finally:
        with ProjectContext(door.stack.site, "demo") as context:
            unshare(context.home, "demo", "jan#brno")


def test_a_service_account_uses_client_credentials(door: Door) -> None:
    door.oidc.services["nightly"] = ("its secret", [])
    door.oidc.services["other"] = ("its secret", [])
    form = {"grant_type": "client_credentials"}

    def token(client: str) -> str:
        answer = requests.post(f"{door.oidc.issuer}/token", form, auth=(client, "its secret"))
        return str(answer.json()["access_token"])

    answer = door.bearer(token("nightly"))
    assert found(answer) == 1
    assert door.bearer(token("other")).status_code == 403
    # The subject is what the audit trail has.
    sent = door.browser().get(
        "/researcher/api/me", headers={"Authorization": f"Bearer {token('nightly')}"}
    )
    assert sent.json()["user"] == "robot#brno"


def test_bearer_tokens_at_the_gateway(door: Door) -> None:
    door.oidc.add("eva", "guests")
    good = door.oidc.token_of("eva")
    assert found(door.bearer(good)) == 0
    for token, status in (
        (door.oidc.token_of("eva", aud="other"), 401),
        (door.oidc.token_of("eva", exp=int(door.clock().timestamp()) - 60), 401),
        (good[:-4] + "AAAA", 401),
        ("x" * 20_000, 401),
        (f"eyJ{'x' * 30_000}.a.b", 401),
        ("", 401),
    ):
        answer = door.bearer(token)
        assert answer.status_code == status, (token[:40], answer.text)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    body = {"content": b"x", "headers": {"Content-Type": "application/dicom"}}
    for groups, statuses in ((["guests"], {403}), (["senders"], {400, 409, 415, 503})):
        door.oidc.people["eva"].groups = groups
        body["headers"] = {**body["headers"],  # type: ignore[dict-item]
                           "Authorization": f"Bearer {door.oidc.token_of('eva')}"}  # fmt: skip
        sent = door.browser().post("/dicom-web/studies", **body)  # type: ignore[arg-type]
        assert sent.status_code in statuses, sent.text


def test_logins_are_listed_and_checked_by_command(
    door: Door, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    who = door.oidc.add("eva", "readers")
    door.log_in(door.browser(), "eva")
    monkeypatch.setenv("PACSGRID_SITE", str(Path(door.stack.dir) / "site.yaml"))
    assert main(["logins"]) == 0
    listed = capsys.readouterr().out
    assert who.subject in listed and "eva#brno" in listed and "readers" in listed
    assert main(["logins", "--check"]) == 0
    assert "1 confirmed" in capsys.readouterr().out
