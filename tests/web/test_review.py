"""The routes of the review: who may use them, and what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from pacsgrid.ledger import Ledger
from pacsgrid.review_model import HeldImage, ImageTraits
from pacsgrid.web.access import Viewer, the_site, viewer
from pacsgrid.web.app import app

IMAGE = HeldImage(ImageTraits("ACME", "M", "OT", "1.2.840", "Screen", 90, 120), "2.25.1", 3)
SHA = "ab" * 32


def _is(name: str, *projects: str, reviews: bool = True) -> None:
    app.dependency_overrides[viewer] = lambda: Viewer(name, projects, True, reviews)


@pytest.fixture
def page(dsn: str, tmp_path: Path) -> Iterator[TestClient]:
    project = SimpleNamespace(name="demo", profile="basic", profiles=("strict",), four_eyes=True)
    site = SimpleNamespace(ledger_dsn=dsn, quarantine=tmp_path, project=lambda name: project)
    app.dependency_overrides[the_site] = lambda: site
    _is("anna", "demo")
    ledger = Ledger(dsn)
    for ref in ("a", "b"):
        ledger.studies.add_found(ref, "demo", "pacs", "hash", b"")
        ledger.held.add(ref, "secondary-capture", "look", SHA, IMAGE)
    yield TestClient(app)
    app.dependency_overrides.clear()


def _group(page: TestClient) -> dict[str, Any]:
    (group,) = page.get("/api/review/groups").json()["groups"]
    return dict(group)


def _decide(page: TestClient, **wanted: object) -> Any:
    body = {"project": "demo", "verdict": "approve", "reason": "seen", **wanted}
    return page.post("/api/review/decisions", json=body)


def test_only_stewards_of_the_project_see_the_review(page: TestClient) -> None:
    group = _group(page)
    assert (group["count"], group["traits"]["model"], group["may_approve"]) == (2, "M", True)
    files = page.get(f"/api/review/groups/{group['id']}").json()["files"]
    assert [(one["ref"], one["frames"]) for one in files] == [("a", 3), ("b", 3)]
    details = page.get(f"/api/review/files/a/{SHA}").json()
    assert details["profiles"] == ["strict"] and details["four_eyes"]
    _is("otto", "other")
    assert page.get("/api/review/groups").json()["groups"] == []
    for path in (f"groups/{group['id']}", f"files/a/{SHA}", f"files/a/{SHA}/frames/0"):
        assert page.get(f"/api/review/{path}").status_code == 404
    assert page.get("/api/review/groups?project=demo").status_code == 404
    assert _decide(page, group=group["id"]).status_code == 404
    _is("eva", "demo", reviews=False)
    for path in ("groups", f"groups/{group['id']}", f"files/a/{SHA}", "rules"):
        assert page.get(f"/api/review/{path}").status_code == 403
    assert _decide(page, group=group["id"]).status_code == 403


def test_a_decision_that_is_not_possible_is_refused_in_words(page: TestClient) -> None:
    group = _group(page)["id"]
    box = {"left": 0, "top": 0, "right": 121, "bottom": 9}
    for wanted, why in (
        ({"reason": " "}, "needs a reason"),
        ({"verdict": "blank"}, "draw at least one"),
        ({"verdict": "blank", "regions": [box]}, "outside the image"),
        ({"verdict": "again", "profile": "x"}, "does not allow"),
        ({"files": [{"ref": "a", "sha256": "00"}]}, "waits any more"),
        ({"until": "2000-01-01T00:00:00Z"}, "waits any more"),
    ):
        answer = _decide(page, group=group, **wanted)
        assert answer.status_code == 422 and why in answer.json()["detail"], wanted
    assert _group(page)["count"] == 2
    assert _decide(page, group=group, verdict="burn").status_code == 422


def test_two_stewards_decide_and_a_rule_is_revoked(page: TestClient, dsn: str) -> None:
    group = _group(page)["id"]
    ledger = Ledger(dsn)
    ledger.held.add("b", "label", "look", "cd" * 32, IMAGE)
    other = replace(IMAGE, traits=replace(IMAGE.traits, rows=91))
    ledger.held.add("b", "label", "look", "ef" * 32, other)
    chosen = [{"ref": "a", "sha256": SHA}]
    made = _decide(page, group=group, files=chosen, always=True).json()
    assert (made["files"], made["waits_for_second"]) == (1, True)
    # What is held of this device and size for another reason is offered.
    assert [(one["code"], one["count"]) for one in made["alike"]] == [("label", 1)]
    number = made["decision"]
    (open_,) = page.get("/api/review/decisions/unanswered").json()
    assert (open_["decision"]["number"], open_["files"]) == (number, 1)
    assert page.get("/api/review/groups").json()["decided"] == {}
    assert page.post(f"/api/review/decisions/{number}/agree").status_code == 422
    _is("otto", "other")
    assert page.post(f"/api/review/decisions/{number}/agree").status_code == 404
    _is("eva", "demo")
    assert page.post(f"/api/review/decisions/{number}/agree").json() == {"in_force": True}
    assert page.post(f"/api/review/decisions/{number}/disagree").status_code == 409
    assert page.get("/api/review/groups").json()["decided"] == {"demo": 1}
    (rule,) = page.get("/api/review/rules").json()
    assert (rule["decision"]["who"], rule["decision"]["second"], rule["files"]) == (
        "anna", "eva", 0,
    )  # fmt: skip
    end = {"reason": "a new device"}
    assert page.post(f"/api/review/rules/{number}/end", json=end).status_code == 200
    assert page.post(f"/api/review/rules/{number}/end", json=end).status_code == 409
    assert page.post("/api/review/rules/999/end", json=end).status_code == 404
