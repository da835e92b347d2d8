"""What a steward decides about held files, over a drop folder and two zones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from pydicom import dcmread

from pacsgrid.embedded.stack import Stack
from pacsgrid.errors import ConfigError
from pacsgrid.ledger.held_groups import HeldGroup, HeldGroups
from pacsgrid.ledger.reviews import Decision, Selected
from pacsgrid.model import StudyQuery, StudyState
from pacsgrid.pipeline import STEPS, ProjectContext, clear_work_folders, find_studies, run_step
from pacsgrid.pipeline.held_decisions import carry_out_decisions, enter_decision, take_on
from pacsgrid.review_model import BlankRegion
from support.dicom import ct
from support.images import header, write
from support.replica_proofs import proven_once
from support.zones_under_test import bare_stack

LABEL = BlankRegion(10, 8, 196, 40)


def capture(path: Path, study: str, number: int, model: str, text: str = "") -> Path:
    """Write a secondary capture, with a text in its upper left corner."""
    ds = header("OT", f"{study}.{number}")
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study, f"{study}.0"
    ds.Manufacturer, ds.ManufacturerModelName, ds.SeriesDescription = "ACME", model, "Screen Save"
    picture = Image.fromarray(_anatomy(number))
    if text:
        ImageDraw.Draw(picture).text((14, 12), text, 255, ImageFont.load_default(20))
    return write(path, ds, np.asarray(picture)[None], "MONOCHROME2")


def _anatomy(number: int) -> np.ndarray:
    y, x = np.mgrid[0:160, 0:200]
    return (60 + 50 * np.sin((x + number) / 17) * np.cos(y / 23)).astype(np.uint8)


def _go(context: ProjectContext) -> list[str]:
    refs = find_studies(context, "drop", StudyQuery())
    through = refs
    for name in STEPS:
        through = run_step(context, name, through).refs
    clear_work_folders(context, through)
    return refs


def _decide(context: ProjectContext, one: Decision, selected: Selected) -> tuple[int, int]:
    return enter_decision(context.ledger, context.project, one, selected)


def _carry_out(context: ProjectContext) -> int:
    return take_on(context, [ref for ref, _ in carry_out_decisions(context)])


def _groups(stack: Stack) -> dict[str, HeldGroup]:
    found = HeldGroups(stack.site.ledger_dsn, ["demo"]).page()
    return {f"{group.code} {group.traits.model}".strip(): group for group in found}


def _about(group: HeldGroup, verdict: str, **more: object) -> Decision:
    codes = frozenset({group.code})
    return Decision("demo", verdict, codes, "seen", "eva", traits=group.traits, **more)  # type: ignore[arg-type]


def _released(context: ProjectContext, ref: str, modality: str = "OT") -> list[Path]:
    out = []
    for row in context.ledger.instances.of_study(ref):
        if row.modality == modality:
            path = f"/brno/home/demo/data/{row.subject}/{row.study_uid}/{row.series_uid}"
            target = context.site.staging / f"got-{row.sop_uid}.dcm"
            with context.home.session.data_objects.open(f"{path}/{row.sop_uid}.dcm", "r") as data:
                target.write_bytes(data.read())
            out.append(target)
    return out


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack where captures of three devices are held, one study of them wholly."""
    with bare_stack(tmp_path_factory.mktemp("decisions") / "stack") as stack:
        for n in (1, 2):
            capture(stack.drop / f"a{n}.dcm", "1.2.9.1", n, "Alpha")
        ct(stack.drop / "ct.dcm", "1.2.9.1", "1.2.9.1.9")
        capture(stack.drop / "b.dcm", "1.2.9.2", 3, "Beta", "NOVAKOVA ZOF")
        ct(stack.drop / "ct2.dcm", "1.2.9.2", "1.2.9.2.9")
        capture(stack.drop / "c.dcm", "1.2.9.3", 4, "Gamma")
        with ProjectContext(stack.site, "demo") as context:
            _go(context)
        yield stack


def test_what_is_alike_is_one_group_without_names(stack: Stack) -> None:
    groups = _groups(stack)
    assert {name: (g.count, g.whole) for name, g in groups.items()} == {
        "secondary-capture Alpha": (2, False),
        "secondary-capture Beta": (1, False),
        "secondary-capture Gamma": (1, False),  # its study is held with it, and not counted twice
    }
    traits = groups["secondary-capture Alpha"].traits
    assert (traits.manufacturer, traits.modality, traits.rows, traits.columns) == (
        "ACME", "OT", 160, 200,
    )  # fmt: skip
    assert traits.description == "Screen Save"
    assert all(g.may_approve and g.may_blank for g in groups.values())


def test_what_cannot_be_decided_is_told(stack: Stack) -> None:
    group = _groups(stack)["secondary-capture Alpha"]
    selected = Selected(group=group.id)
    with ProjectContext(stack.site, "demo") as context:
        wrong = [
            (replace(_about(group, "approve"), reason=" "), "needs a reason"),
            (replace(_about(group, "approve"), codes=frozenset({"identity-left"})), "checker"),
            (replace(_about(group, "approve"), codes=frozenset({"pixels-text"})), "checker"),
            (replace(_about(group, "approve"), codes=frozenset({"document"})), "cannot be"),
            (_about(group, "blank"), "draw at least one"),
            (_about(group, "blank", regions=(BlankRegion(5, 5, 5, 9),)), "draw it again"),
            (_about(group, "again", profile="/etc/passwd"), "does not allow"),
            (_about(group, "again", always=True), "no rule"),
            (
                _about(group, "blank", always=True, regions=(replace(LABEL, frame=1),)),
                "every frame",
            ),
        ]
        for decision, why in wrong:
            with pytest.raises(ConfigError, match=why):
                _decide(context, decision, selected)
        with pytest.raises(ConfigError, match="waits any more"):
            _decide(context, _about(group, "approve"), Selected(group="hg-none"))


def test_a_group_is_approved_and_the_report_tells_who_did(stack: Stack) -> None:
    group = _groups(stack)["secondary-capture Alpha"]
    with ProjectContext(stack.site, "demo") as context:
        ref = context.pseudonyms.reference("drop", "1.2.9.1")
        number, files = _decide(context, _about(group, "approve"), Selected(group=group.id))
        assert files == 2 and "secondary-capture Alpha" not in _groups(stack)
        assert _carry_out(context) == 1 and _carry_out(context) == 0
        assert context.ledger.studies.state(ref) is StudyState.VERIFIED
        assert proven_once(context, ref) and len(_released(context, ref)) == 2
        body, _ = context.ledger.reports.get(ref) or (b"", "")
        (told,) = json.loads(body)["review"]
        assert (told["decision"], told["decided_by"], told["files"]) == (number, "eva", 2)
        assert "seen" not in body.decode()
        for path in _released(context, ref):
            assert b"eva" not in path.read_bytes()
        assert not context.folders(ref).quarantine.exists()
        assert [(d.verdict, d.who) for d in context.ledger.audit.decisions(ref)] == [
            ("Approve", "eva")
        ]


def test_drawn_regions_are_blank_and_nothing_else_changed(stack: Stack) -> None:
    group = _groups(stack)["secondary-capture Beta"]
    with ProjectContext(stack.site, "demo") as context:
        ref = context.pseudonyms.reference("drop", "1.2.9.2")
        blank = _about(group, "blank", always=True, regions=(LABEL,))
        number, files = _decide(context, blank, Selected(group=group.id))
        assert files == 1 and _carry_out(context) == 1
        (path,) = _released(context, ref)
        before = dcmread(stack.drop / "b.dcm").pixel_array
        after = dcmread(path).pixel_array
        inside = np.zeros(before.shape, bool)
        inside[LABEL.top : LABEL.bottom, LABEL.left : LABEL.right] = True
        assert len(np.unique(after[inside])) == 1 and (after != before)[inside].any()
        assert np.array_equal(after[~inside], before[~inside])
        # Tomorrow's study of this device is blanked so and goes on; that of another is held.
        capture(stack.drop / "d.dcm", "1.2.9.4", 5, "Beta", "DVORAK JIRI")
        capture(stack.drop / "e.dcm", "1.2.9.5", 6, "Delta")
        _go(context)
        later = context.pseudonyms.reference("drop", "1.2.9.4")
        assert context.ledger.studies.state(later) is StudyState.VERIFIED
        (path,) = _released(context, later)
        assert len(np.unique(dcmread(path).pixel_array[inside])) == 1
        assert list(_groups(stack)) == ["secondary-capture Gamma", "secondary-capture Delta"] or (
            set(_groups(stack)) == {"secondary-capture Gamma", "secondary-capture Delta"}
        )
        (rule,) = context.ledger.reviews.rules(["demo"])
        assert (rule.decision.number, rule.files) == (number, 2)
        # Revoked, it decides about no further file.
        assert context.ledger.reviews.end_rule(number, "eva", "a new device")
        assert not context.ledger.reviews.end_rule(number, "eva", "again")
        capture(stack.drop / "f.dcm", "1.2.9.6", 7, "Beta")
        _go(context)
        assert _groups(stack)["secondary-capture Beta"].count == 1
        assert context.ledger.reviews.version("demo") == 2


def test_a_second_steward_agrees_where_the_project_asks_for_one(stack: Stack) -> None:
    group = _groups(stack)["secondary-capture Gamma"]
    with ProjectContext(stack.site, "demo") as context:
        ref = context.pseudonyms.reference("drop", "1.2.9.3")
        careful = context.project.replace(four_eyes=True)
        ledger = context.ledger
        number, _ = enter_decision(
            ledger, careful, _about(group, "approve"), Selected(group=group.id)
        )
        assert carry_out_decisions(context) == []
        assert [(d.number, files) for d, files in ledger.reviews.unanswered(["demo"])] == [
            (number, 1)
        ]
        with pytest.raises(ConfigError, match="another steward"):
            ledger.reviews.answer(number, "eva", True)
        assert ledger.reviews.answer(number, "otto", False)
        assert not ledger.reviews.answer(number, "otto", True)
        assert _groups(stack)["secondary-capture Gamma"].count == 1
        number, _ = enter_decision(
            ledger, careful, _about(group, "approve"), Selected(group=group.id)
        )
        assert ledger.reviews.answer(number, "otto", True) and _carry_out(context) == 1
        assert ledger.studies.state(ref) is StudyState.VERIFIED
        assert ledger.audit.decisions(ref)[-1].who == "eva, otto"


def test_a_study_whose_files_are_all_rejected_stays_out(stack: Stack) -> None:
    group = _groups(stack)["secondary-capture Delta"]
    with ProjectContext(stack.site, "demo") as context:
        ref = context.pseudonyms.reference("drop", "1.2.9.5")
        _decide(context, _about(group, "reject", always=True), Selected(group=group.id))
        assert carry_out_decisions(context) == []
        assert context.ledger.studies.held_code(ref) == "rejected"
        capture(stack.drop / "g.dcm", "1.2.9.7", 8, "Delta")
        _go(context)
        later = context.pseudonyms.reference("drop", "1.2.9.7")
        assert context.ledger.studies.held_code(later) == "rejected"
        assert "secondary-capture Delta" not in _groups(stack)
