"""What a steward decides about held files, over a drop folder and two zones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
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
from support.held_captures import capture, released
from support.replica_proofs import proven_once
from support.zones_under_test import bare_stack

LABEL = BlankRegion(10, 8, 196, 40)


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
                replace(_about(group, "reject", always=True), codes=frozenset({"pixels-text"})),
                "without a rule",
            ),
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


def test_a_group_is_approved_and_the_report_tells_who_did(stack: Stack, tmp_path: Path) -> None:
    group = _groups(stack)["secondary-capture Alpha"]
    with ProjectContext(stack.site, "demo") as context:
        ref = context.pseudonyms.reference("drop", "1.2.9.1")
        number, files = _decide(context, _about(group, "approve"), Selected(group=group.id))
        assert files == 2 and "secondary-capture Alpha" not in _groups(stack)
        # A worker that dies in between leaves it to the next.
        assert carry_out_decisions(context) == [(ref, "")]
        assert _carry_out(context) == 1 and _carry_out(context) == 0
        assert context.ledger.studies.state(ref) is StudyState.VERIFIED
        assert proven_once(context, ref) and len(released(context, ref, tmp_path)) == 2
        body, _ = context.ledger.reports.get(ref) or (b"", "")
        (told,) = json.loads(body)["review"]
        assert (told["decision"], told["decided_by"], told["files"]) == (number, "eva", 2)
        assert "seen" not in body.decode()
        for path in released(context, ref, tmp_path):
            assert b"eva" not in path.read_bytes()
        assert not context.folders(ref).quarantine.exists()
        assert [(d.verdict, d.who) for d in context.ledger.audit.decisions(ref)] == [
            ("Approve", "eva")
        ]


def test_drawn_regions_are_blank_and_nothing_else_changed(stack: Stack, tmp_path: Path) -> None:
    group = _groups(stack)["secondary-capture Beta"]
    with ProjectContext(stack.site, "demo") as context:
        ref = context.pseudonyms.reference("drop", "1.2.9.2")
        blank = _about(group, "blank", always=True, regions=(LABEL,))
        number, files = _decide(context, blank, Selected(group=group.id))
        assert files == 1 and _carry_out(context) == 1
        (path,) = released(context, ref, tmp_path)
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
        (path,) = released(context, later, tmp_path)
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
