"""Five hundred held files are reviewed in a real browser. `make test-ui` runs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import requests
from playwright.sync_api import Page, expect
from pydicom import dcmread

from pacsgrid.embedded.stack import GUEST, STEWARD, Stack
from pacsgrid.ledger import Overview
from pacsgrid.model import StudyState
from pacsgrid.pipeline import ProjectContext
from support.browser import CHROMIUM, chromium, shot
from support.dicom import ct
from support.held_captures import capture, released

pytestmark = [
    pytest.mark.ui,
    pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed"),
]

# Studies of each device, and files of each of its studies.
DEVICES = {"Alpha": (6, 50), "Beta": (5, 30), "Gamma": (2, 25)}
# A click of a steward who looks takes some seconds: two minutes are worth this many.
CLICKS = 40
COUNT = """
window.clicks = window.clicks ?? 0;
addEventListener("pointerdown", () => { window.clicks += 1; }, true);
"""


def _study(model: str, number: int) -> str:
    return f"1.2.826.90.{list(DEVICES).index(model) + 1}.{number}"


def _drop(stack: Stack, model: str, number: int, files: int) -> None:
    study = _study(model, number)
    text = "NOVAKOVA ZOF" if model == "Beta" else ""
    for n in range(1, files + 1):
        capture(stack.drop / f"{study}.{n}.dcm", study, n, model, text)
    if number > 1:  # the first study of each device has nothing else, and is held with its files
        ct(stack.drop / f"{study}.ct.dcm", study, f"{study}.999")


@pytest.fixture(scope="module")
def captured(stack: Stack) -> Stack:
    """The stack after an ingest of studies with secondary captures of three devices."""
    for model, (studies, files) in DEVICES.items():
        for number in range(1, studies + 1):
            _drop(stack, model, number, files)
    assert stack.watch(stack.trigger({"source": "drop", "project": "demo"})) == "success"
    return stack


def _get(stack: Stack, user: str, path: str) -> requests.Response:
    bearer = {"Authorization": f"Bearer {stack.token(user)}"}
    return requests.get(f"{stack.url}/pacsgrid/api/review/{path}", headers=bearer, timeout=120)


def _groups(stack: Stack) -> dict[str, dict[str, object]]:
    groups = _get(stack, STEWARD, "groups?code=secondary-capture").json()["groups"]
    return {one["traits"]["model"]: one for one in groups}


def _open(page: Page, model: str) -> None:
    row = page.get_by_role("row").filter(has_text=f"ACME {model}")
    row.locator("td.pg-number a").click()
    expect(page.locator("svg[data-draw=before]")).to_be_visible()


def _seen(page: Page) -> None:
    for title in ("As held", "After anonymising"):
        page.wait_for_function(f"document.querySelector('img[alt=\"{title}\"]')?.naturalWidth > 0")


def _draw(page: Page, left: int, top: int, right: int, bottom: int) -> None:
    """Draw a rectangle, given in pixels of the image of 200 x 160."""
    box = page.locator("svg[data-draw=before]").bounding_box()
    assert box is not None
    across, down = box["width"] / 200, box["height"] / 160
    page.mouse.move(box["x"] + left * across, box["y"] + top * down)
    page.mouse.down()
    page.mouse.move(box["x"] + right * across, box["y"] + bottom * down, steps=4)
    page.mouse.up()


def test_a_viewer_sees_nothing_of_the_review(captured: Stack) -> None:
    alpha = _groups(captured)["Alpha"]
    file = f"files/{alpha['ref']}/{alpha['sha256']}"
    paths = ["groups", f"groups/{alpha['id']}", file, f"{file}/thumbnail", f"{file}/frames/0"]
    paths += [f"{file}/frames/0/text", f"{file}/header", "rules", "decisions/unanswered"]
    for path in paths:
        assert _get(captured, STEWARD, path).status_code == 200, path
        assert _get(captured, GUEST, path).status_code == 403, path
    story = Overview(captured.site.ledger_dsn, ["demo"]).story(str(alpha["ref"]))
    assert story is not None and {row.who for row in story.accesses} == {STEWARD}
    assert len(story.accesses) == 4  # the thumbnail, the frame, its text and the header
    for path in ("decisions", "decisions/1/agree", "rules/1/end"):
        answer = requests.post(
            f"{captured.url}/pacsgrid/api/review/{path}",
            json={"project": "demo", "verdict": "approve", "reason": "x", "group": alpha["id"]},
            headers={"Authorization": f"Bearer {captured.token(GUEST)}"},
            timeout=120,
        )
        assert answer.status_code == 403
    with chromium(captured, GUEST) as page:
        page.goto("/plugin/pacsgrid#review")
        expect(page.get_by_text("reviewed by those who may trigger")).to_be_visible()
        assert page.get_by_role("link", name="Review", exact=True).count() == 0


def test_five_hundred_files_are_decided_in_a_few_clicks(captured: Stack, tmp_path: Path) -> None:
    counts = {model: one["count"] for model, one in _groups(captured).items()}
    assert counts == {model: studies * files for model, (studies, files) in DEVICES.items()}
    with chromium(captured, STEWARD) as page:
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto("/plugin/pacsgrid")
        page.evaluate(COUNT)
        page.get_by_role("link", name="Review", exact=True).click()
        expect(page.get_by_role("row").filter(has_text="ACME Alpha")).to_be_visible()
        shot(page, "review-groups")
        _open(page, "Alpha")
        _seen(page)
        page.keyboard.press("j")
        expect(page.locator("tr.pg-now input")).to_have_attribute("aria-label", "Choose file 2")
        page.get_by_role("button", name="no one can be identified").click()
        page.get_by_role("button", name="Approve all 300").click()
        expect(page.get_by_text("Nothing of this group waits any more.")).to_be_visible()
        page.get_by_role("link", name="All groups").click()
        _open(page, "Beta")
        _seen(page)
        _draw(page, 8, 6, 196, 40)
        page.get_by_role("button", name="burned-in text is gone").click()
        page.get_by_label("Always so").check()
        shot(page, "review-blank")
        page.get_by_role("button", name="Blank 1 region of all 150").click()
        expect(page.get_by_text("Nothing of this group waits any more.")).to_be_visible()
        page.get_by_role("link", name="All groups").click()
        _open(page, "Gamma")
        page.get_by_role("button", name="a form or a letter").click()
        page.get_by_role("button", name="Reject all 50").click()
        expect(page.get_by_text("Nothing of this group waits any more.")).to_be_visible()
        page.get_by_role("button", name="Carry out now").click()
        run = page.get_by_role("status").get_by_role("link").inner_text()
        clicks = page.evaluate("window.clicks")
        print(f"500 held files decided with {clicks} clicks")
        assert clicks <= CLICKS
        assert errors == []
    assert captured.watch(run, dag="review_held", seconds=1800) == "success"
    assert not {"Alpha", "Beta", "Gamma"} & _groups(captured).keys()
    with ProjectContext(captured.site, "demo") as context:
        for model, (studies, files) in DEVICES.items():
            for number in range(1, studies + 1):
                ref = context.pseudonyms.reference("drop", _study(model, number))
                whole = model == "Gamma" and number == 1
                state = StudyState.HELD if whole else StudyState.VERIFIED
                assert context.ledger.studies.state(ref) is state
                out = [r for r in context.ledger.instances.of_study(ref) if r.modality == "OT"]
                assert len(out) == (0 if model == "Gamma" else files)
        ref = context.pseudonyms.reference("drop", _study("Beta", 2))
        made = [dcmread(path).pixel_array for path in released(context, ref, tmp_path)]
        _only_blanked(made, [captured.drop / f"{_study('Beta', 2)}.{n}.dcm" for n in range(1, 31)])


def _only_blanked(made: list[np.ndarray], sources: list[Path]) -> None:
    """Check that each result is one of the sources, but for one rectangle that is blank."""
    for after in made:
        for source in sources:
            before = dcmread(source).pixel_array
            rows, columns = np.nonzero(before != after)
            if rows.max() > 60:
                continue  # another picture
            part = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
            assert len(np.unique(after[part])) == 1
            # The text lies within, so nothing of its white is left.
            assert before.max() == 255 and after.max() < 255
            break
        else:
            pytest.fail("a released picture is none of those that were held")


def test_a_rule_takes_effect_on_tomorrow_s_study(captured: Stack, tmp_path: Path) -> None:
    _drop(captured, "Beta", 9, 2)
    assert captured.watch(captured.trigger({"source": "drop", "project": "demo"})) == "success"
    with ProjectContext(captured.site, "demo") as context:
        ref = context.pseudonyms.reference("drop", _study("Beta", 9))
        assert context.ledger.studies.state(ref) is StudyState.VERIFIED
        assert context.ledger.held.of_study(ref) == []
        made = [dcmread(path).pixel_array for path in released(context, ref, tmp_path)]
        assert len(made) == 2
        _only_blanked(made, [captured.drop / f"{_study('Beta', 9)}.{n}.dcm" for n in (1, 2)])
    with chromium(captured, STEWARD) as page:
        page.goto("/plugin/pacsgrid#review/rules")
        row = page.locator("[data-rule]").filter(has_text="ACME Beta")
        expect(row).to_contain_text("in force")
        expect(row.locator("td.pg-number")).to_have_text("152")
        shot(page, "review-rules")
        page.on("dialog", lambda dialog: dialog.accept("the device is gone"))
        row.get_by_role("button", name="Revoke").click()
        expect(row).to_contain_text("revoked by steward")
