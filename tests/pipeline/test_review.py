"""What a steward decides about held studies, over a drop folder and two zones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

from pacsgrid.deid import load_profile
from pacsgrid.embedded.stack import Stack
from pacsgrid.errors import ConfigError
from pacsgrid.ledger import Overview
from pacsgrid.ledger.codes import REJECTED
from pacsgrid.model import StudyQuery, StudyState
from pacsgrid.pipeline import (
    STEPS,
    ProjectContext,
    clear_work_folders,
    find_studies,
    preview_ingest,
    run_step,
)
from pacsgrid.pipeline.review import Verdict, count_by_reason, decide, open_reviews
from support.dicom import ct
from support.replica_proofs import proven_once
from support.zones_under_test import bare_stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack where one study is shared by two patients, one has a cut file, one is a letter."""
    directory = tmp_path_factory.mktemp("review") / "stack"
    with bare_stack(directory) as stack:
        for n in (1, 2):
            ct(stack.drop / f"shared{n}.dcm", "1.2.3.1", f"1.2.3.1.{n}", fill=n)
        _patient(stack.drop / "shared2.dcm", "somebody else")
        ct(stack.drop / "whole.dcm", "1.2.3.2", "1.2.3.2.1")
        cut = ct(stack.drop / "cut.dcm", "1.2.3.2", "1.2.3.2.2")
        cut.write_bytes(cut.read_bytes()[:-500])
        (stack.drop / "letter.txt").write_text("Dear colleague")
        with ProjectContext(stack.site, "demo") as context:
            expected = preview_ingest(context, "drop", [StudyQuery()])
            assert (expected.studies, expected.new, expected.finished) == (2, 2, 0)
            assert context.ledger.studies.find("demo") == []
            _go(context, find_studies(context, "drop", StudyQuery()))
        yield stack


def _patient(path: Path, patient_id: str) -> None:
    ds = dcmread(path)
    ds.PatientID = patient_id
    ds.save_as(path)


def _go(context: ProjectContext, refs: list[str]) -> None:
    for name in STEPS:
        refs = run_step(context, name, refs).refs
    clear_work_folders(context, refs)


def _held(context: ProjectContext, code: str) -> str:
    (ref,) = {row.ref for row in context.ledger.held.queue("demo") if row.code == code}
    return ref


def test_each_study_that_waits_is_one_question(stack: Stack) -> None:
    with ProjectContext(stack.site, "demo") as context:
        reviews = open_reviews(context, 10)
        counts = {"not-dicom": 1, "patient-mismatch": 1, "truncated": 1}
        assert dict(sorted(count_by_reason(reviews).items())) == counts
        assert {r.reasons[0][0]: (r.whole, r.files) for r in reviews} == {
            "not-dicom": (True, 1),
            "patient-mismatch": (True, 2),
            "truncated": (False, 1),
        }
        assert [r.reasons[0][0] for r in open_reviews(context, 10, "truncated")] == ["truncated"]
        assert len(open_reviews(context, 2)) == 2


def test_a_mended_study_goes_on_with_another_profile(stack: Stack) -> None:
    _patient(stack.drop / "shared2.dcm", "756203/1234")
    with ProjectContext(stack.site, "demo", "review", "strict") as context:
        ref = _held(context, "patient-mismatch")
        with pytest.raises(ConfigError, match="name of who"):
            decide(context, ref, Verdict.AGAIN, " ", "")
        assert not decide(context, ref, Verdict.LEAVE, "eva", "")
        assert decide(context, ref, Verdict.AGAIN, "eva", "mended at the source")
        assert not decide(context, ref, Verdict.AGAIN, "eva", "once more")
        # The source may not have it any more: what was held stays until the study is verified.
        room = context.folders(ref).quarantine
        assert len(list(room.rglob("*.dcm"))) == 2
        _go(context, [ref])
        assert proven_once(context, ref) and not room.exists()
        (row,) = [row for row in context.ledger.studies.find("demo") if row.ref == ref]
        assert (row.state, row.profile_hash) == (StudyState.VERIFIED, load_profile("strict").hash)
        story = Overview(stack.site.ledger_dsn, ["demo"]).story(ref)
        assert story is not None
        decisions = [(d.verdict, d.who, d.reason, d.profile) for d in story.decisions]
        assert decisions == [("Try again", "eva", "mended at the source", context.profile.name)]


def test_a_rejected_file_leaves_the_queue_and_its_study_stays(stack: Stack) -> None:
    with ProjectContext(stack.site, "demo") as context:
        ref = _held(context, "truncated")
        assert not decide(context, ref, Verdict.REJECT, "eva", "cut at the modality")
        assert context.ledger.studies.state(ref) is StudyState.VERIFIED
        assert open_reviews(context, 10, ref) == []
        assert ref not in find_studies(context, "drop", StudyQuery())
        # It grows: the rejected file comes with the others, and nobody is asked about it again.
        ct(stack.drop / "late.dcm", "1.2.3.2", "1.2.3.2.3", fill=3)
        assert ref in find_studies(context, "drop", StudyQuery())
        _go(context, [ref])
        assert proven_once(context, ref) and len(context.ledger.instances.of_study(ref)) == 2
        assert open_reviews(context, 10, ref) == []
        assert ref not in find_studies(context, "drop", StudyQuery())


def test_what_is_no_study_can_only_be_rejected(stack: Stack) -> None:
    with ProjectContext(stack.site, "demo") as context:
        ref = _held(context, "not-dicom")
        with pytest.raises(ConfigError, match="correct it there"):
            decide(context, ref, Verdict.AGAIN, "eva", "")
        decide(context, ref, Verdict.REJECT, "eva", "a letter")
        for _ in range(2):
            rejected = [
                r.ref for r in context.ledger.held.queue("demo") if r.whole and r.code == REJECTED
            ]
            assert rejected == [ref] and open_reviews(context, 10, ref) == []
            find_studies(context, "drop", StudyQuery())


def test_a_profile_that_the_project_does_not_allow_is_refused(stack: Stack) -> None:
    with pytest.raises(ConfigError, match="allows: basic, research, strict"):
        ProjectContext(stack.site, "demo", profile="/etc/passwd")
