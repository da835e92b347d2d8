"""A study's series are taken or left, by rules; what is left is not wanted, and never missing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread

from pacsgrid.config import ContentChecks, SeriesSelection, SourceSettings, parse_selection
from pacsgrid.embedded.pacs import DICOMWEB, ORTHANC, EmbeddedPacs
from pacsgrid.embedded.ports import reserve_port
from pacsgrid.embedded.stack import Stack
from pacsgrid.ledger import Overview
from pacsgrid.model import StudyQuery, StudyState
from pacsgrid.pacs.storage_scp.completion_watcher import CompletionWatcher
from pacsgrid.pacs.storage_scp.incoming import Incoming
from pacsgrid.pipeline import STEPS, ProjectContext, clear_work_folders, find_studies, run_step
from pacsgrid.pipeline.find import enter_studies
from pacsgrid.pipeline.report import project_report
from pacsgrid.pipeline.review import Verdict, decide
from pacsgrid.pipeline.withdraw import withdraw
from support.dcmqrscp import DCMQRSCP, Dcmqrscp
from support.pydicom_files import Sample
from support.receiver_process import receive
from support.seeded import number_of
from support.series import CORONAL, changed, series
from support.zones_under_test import bare_stack

THIN = SeriesSelection.model_validate(
    {
        "include": [{"modality": "^CT$", "image_type": "AXIAL", "slice_thickness": "<=1.5"}],
        "exclude": [{"description": "scout|localizer"}, {"instances": "<3"}],
    }
)
ALL = SeriesSelection()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with bare_stack(tmp_path_factory.mktemp("series") / "stack") as stack:
        yield stack


@pytest.fixture
def uid(request: pytest.FixtureRequest) -> str:
    return f"1.2.7.{number_of(request.node.nodeid)}"


def chest(folder: Path, uid: str) -> list[Path]:
    """A study of a thin series that is wanted, and of three that are not; 5, 3, 1 and 2 files."""
    who = f"{uid}/77"
    return [
        *series(folder, uid, 1, 5, "Thorax 1.0 axial", patient_id=who),
        *series(folder, uid, 2, 3, "Thorax 5.0 axial", thickness=5.0, patient_id=who),
        *series(
            folder, uid, 3, 1, "Scout", None, ("ORIGINAL", "PRIMARY", "LOCALIZER"), patient_id=who
        ),
        *series(folder, uid, 4, 2, "Thorax 1.0 test", patient_id=who),
    ]


@contextmanager
def project(
    stack: Stack,
    selection: SeriesSelection,
    source: SourceSettings | None = None,
    checks: ContentChecks | None = None,
) -> Iterator[ProjectContext]:
    settings = stack.site.project("demo").replace(
        series=selection, checks=checks or ContentChecks()
    )
    sources = dict(stack.site.sources)
    if source is not None:
        sources[source.name] = source
    site = replace(stack.site, projects={"demo": settings}, sources=sources)
    with ProjectContext(site, "demo") as context:
        yield context


def ingest(
    context: ProjectContext, source: str, uid: str, asked: SeriesSelection = ALL
) -> StudyState:
    """Find the study and take it through every step; returns its state."""
    query = StudyQuery(study_uids=(uid,))
    found = enter_studies(context, source, query, series=asked)
    refs = [study.ref for some in found for study in some]
    for name in STEPS:
        refs = run_step(context, name, refs).refs
    clear_work_folders(context, refs)
    return context.ledger.studies.state(context.pseudonyms.reference(source, uid))


def counts(context: ProjectContext, source: str, uid: str) -> tuple[int, dict[str, int]]:
    """How many instances the ledger has, and how many are not wanted by each rule."""
    ref = context.pseudonyms.reference(source, uid)
    left: dict[str, int] = {}
    for one in context.ledger.series.not_wanted(ref):
        left[one.rule] = left.get(one.rule, 0) + one.instances
    return len(context.ledger.instances.of_study(ref)), left


def dimse(server: EmbeddedPacs, name: str, retrieve: str) -> SourceSettings:
    return server.settings().replace(name=name, retrieve=retrieve)


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPacs]:
    if not ORTHANC.exists() or not DICOMWEB.exists():
        pytest.skip("no Orthanc with DICOMweb")
    with EmbeddedPacs(tmp_path_factory.mktemp("orthanc"), engine="orthanc") as server:
        yield server


@pytest.mark.parametrize("way", ["get", "move", "web"])
def test_orthanc_is_asked_for_wanted_series_only(
    stack: Stack, orthanc: EmbeddedPacs, tmp_path: Path, uid: str, way: str
) -> None:
    files = chest(tmp_path, uid)
    assert orthanc.load(files) == len(files)
    source = dimse(orthanc, f"orthanc-{way}", way)
    with project(stack, THIN, source) as context:
        # It comes whole, though seven of its twelve instances stay where they are.
        assert ingest(context, source.name, uid) is StudyState.VERIFIED
        assert counts(context, source.name, uid) == (
            5,
            {"include": 3, "exclude 1": 1, "exclude 2": 2},
        )
        # The study is as it was found: nothing is retrieved again.
        assert find_studies(context, source.name, StudyQuery(study_uids=(uid,))) == []
        assert context.ledger.consistency.violations("demo") == []
        ref = context.pseudonyms.reference(source.name, uid)
        story = Overview(stack.site.ledger_dsn, ["demo"]).story(ref)
        assert story is not None and len(story.not_wanted) == 3 and story.instances == 5
        assert uid not in str(story)
        assert project_report(context).not_wanted["instances"] >= 6
    # A wider selection brings what is wanted now, and keeps what was deposited.
    wider = SeriesSelection.model_validate({"exclude": [{"image_type": "LOCALIZER"}]})
    with project(stack, wider, source) as context:
        assert ingest(context, source.name, uid) is StudyState.VERIFIED
        assert counts(context, source.name, uid) == (10, {"exclude 1": 1})
    # A narrower one takes nothing away, and retrieves nothing.
    nothing = SeriesSelection.model_validate({"include": [{"modality": "MR"}]})
    with project(stack, nothing, source) as context:
        assert find_studies(context, source.name, StudyQuery(study_uids=(uid,))) == []
        assert counts(context, source.name, uid)[0] == 10
    # Without rules, all of it comes.
    with project(stack, ALL, source) as context:
        assert ingest(context, source.name, uid) is StudyState.VERIFIED
        assert counts(context, source.name, uid) == (11, {})
        assert context.ledger.consistency.violations("demo") == []


def test_dcmqrscp_tells_less_and_the_headers_decide(
    stack: Stack, tmp_path: Path, uid: str, caplog: pytest.LogCaptureFixture
) -> None:
    if not DCMQRSCP.exists():
        pytest.skip("no DCMTK")
    samples = [
        Sample(path, uid, str(ds.SOPInstanceUID), str(ds.SOPClassUID), "1.2.840.10008.1.2.1")
        for path in chest(tmp_path / "files", uid)
        for ds in [dcmread(path, stop_before_pixels=True)]
    ]
    with Dcmqrscp(tmp_path / "archive", samples, reserve_port()) as archive:
        assert len(archive.load()) == len(samples)
        source = archive.settings()
        with project(stack, THIN, source) as context, caplog.at_level(logging.INFO):
            assert ingest(context, "dcmqrscp", uid) is StudyState.VERIFIED
            taken, left = counts(context, "dcmqrscp", uid)
            assert taken == 5 and sum(left.values()) == 6
            assert find_studies(context, "dcmqrscp", StudyQuery(study_uids=(uid,))) == []
    assert "are not wanted" in caplog.text and uid not in caplog.text


def test_a_study_without_a_wanted_series_is_not_wanted(
    stack: Stack, orthanc: EmbeddedPacs, tmp_path: Path, uid: str
) -> None:
    assert orthanc.load(chest(tmp_path, uid)) == 11
    source = dimse(orthanc, "orthanc-none", "get")
    with project(
        stack, SeriesSelection.model_validate({"include": [{"modality": "MR"}]}), source
    ) as context:
        assert ingest(context, source.name, uid) is StudyState.NOT_WANTED
        assert counts(context, source.name, uid) == (0, {"include": 11})
        ref = context.pseudonyms.reference(source.name, uid)
        assert not context.folders(ref).staging.exists()
        assert context.ledger.worklist.count_by_state("demo", source.name) == {}
        assert find_studies(context, source.name, StudyQuery(study_uids=(uid,))) == []
        assert context.ledger.held.queue("demo") == []
        assert context.ledger.consistency.violations("demo") == []
        # A series that is added at the source, and is not wanted either, changes nothing for good.
        orthanc.load(series(tmp_path / "late", uid, 8, 2, "late", patient_id=f"{uid}/77"))
        assert ingest(context, source.name, uid) is StudyState.NOT_WANTED
        assert find_studies(context, source.name, StudyQuery(study_uids=(uid,))) == []
    with project(stack, THIN, source) as context:
        assert ingest(context, source.name, uid) is StudyState.VERIFIED
        assert counts(context, source.name, uid)[0] == 5


def test_two_runs_that_ask_for_different_series_are_both_served(
    stack: Stack, tmp_path: Path, uid: str
) -> None:
    chest(stack.drop, uid)
    thick = parse_selection(["description=thorax 5"], [])
    scout = parse_selection([], ["description=thorax; instances>1"])
    query = StudyQuery(study_uids=(uid,))
    with project(stack, ALL) as context:
        list(enter_studies(context, "drop", query, series=thick))
        assert ingest(context, "drop", uid, scout) is StudyState.VERIFIED
        assert counts(context, "drop", uid) == (4, {"run's include": 7})
        # Once they are served, the next run stands for itself; what is deposited stays.
        test = parse_selection(["description=test"], [])
        assert ingest(context, "drop", uid, test) is StudyState.VERIFIED
        assert counts(context, "drop", uid)[0] == 6
    # What the project does not want, no run gets.
    with project(stack, THIN) as context:
        assert find_studies(context, "drop", query) != []  # the thin series is still to come
        assert ingest(context, "drop", uid, ALL) is StudyState.VERIFIED
        assert counts(context, "drop", uid) == (11, {})


def test_received_files_that_are_not_wanted_leave_the_receiver_and_may_come_again(
    stack: Stack, tmp_path: Path, uid: str
) -> None:
    folder = stack.dir / "incoming"
    Incoming(folder, 0).close()
    files = chest(tmp_path, uid)

    def send(some: list[Path]) -> None:
        receive(folder, some)
        CompletionWatcher(folder, 0.0, 0.0, lambda study: None).scan()

    def kept() -> int:
        return len(list(folder.glob("[!.]*/*.dcm")))

    send(files)
    with project(stack, THIN) as context:
        assert ingest(context, "received", uid) is StudyState.VERIFIED
        assert counts(context, "received", uid)[0] == 5
        assert kept() == 0
        # The same files again are known, wanted or not.
        send(files)
        assert find_studies(context, "received", StudyQuery(study_uids=(uid,))) == []
        assert kept() == 0
    send(files[5:8])
    with project(stack, ALL) as context:
        assert ingest(context, "received", uid) is StudyState.VERIFIED
        assert counts(context, "received", uid) == (8, {})
        assert kept() == 0 and context.ledger.consistency.violations("demo") == []


def test_a_withdrawn_patient_leaves_no_series_behind(
    stack: Stack, tmp_path: Path, uid: str
) -> None:
    chest(stack.drop, uid)
    with project(stack, THIN) as context:
        assert ingest(context, "drop", uid) is StudyState.VERIFIED
        ref = context.pseudonyms.reference("drop", uid)
        subject = context.ledger.instances.of_study(ref)[0].subject
        assert context.ledger.series.not_wanted(ref)
        assert withdraw(context, subject) == []
        assert context.ledger.series.not_wanted(ref) == []
        assert context.ledger.consistency.violations("demo") == []


# -- content -----------------------------------------------------------------------------------

CHECKS = {
    "missing_slices": "hold",
    "mixed_orientations": "warn",
    "missing_series": "warn",
    "expected": [
        {"name": "thin", "slice_thickness": "<=1.5", "instances": ">=5"},
        {"name": "lung", "description": "lung"},
    ],
}


def test_content_is_checked_and_a_steward_may_send_it_on(
    stack: Stack, tmp_path: Path, uid: str
) -> None:
    files = series(stack.drop, uid, 1, 12, "thin", patient_id=f"{uid}/5")
    mixed = series(stack.drop, uid, 2, 6, "reformatted", patient_id=f"{uid}/5")
    changed(mixed[5], ImageOrientationPatient=list(CORONAL))
    for path in files[4:6]:
        path.unlink()
    checks = ContentChecks.model_validate(CHECKS)
    with project(stack, ALL, checks=checks) as context:
        assert ingest(context, "drop", uid) is StudyState.HELD
        ref = context.pseudonyms.reference("drop", uid)
        (row,) = [row for row in context.ledger.held.queue("demo") if row.ref == ref]
        assert row.code == "missing-slices"
        assert (
            "about 2 slices are missing by position: 1 of 9 gaps are wider than the usual 1.00 mm, "
            "the widest 3.00 mm" in row.detail
        )
        assert "2 Instance Numbers are missing between 1 and 12" in row.detail
        assert uid not in row.detail
        assert context.ledger.series.warnings(ref) == []
        assert decide(context, ref, Verdict.AGAIN, "eva", "the scanner stopped there")
        assert ingest(context, "drop", uid) is StudyState.VERIFIED
        found = {one.code: one.detail for one in context.ledger.series.warnings(ref)}
        assert set(found) == {"missing-slices", "mixed-orientations", "missing-series"}
        assert found["mixed-orientations"] == "its slices have 2 orientations (5, 1 slices)"
        assert found["missing-series"] == "no series is as 'lung' should be (checks.expected)"
        assert project_report(context).content_warnings["missing-series"] == 1
        assert Overview(stack.site.ledger_dsn, ["demo"]).content_warnings() == {
            code: 1 for code in found
        }
        # The source gets the slices after all: the study is taken again, and the warning goes.
        series(stack.drop, uid, 1, 12, "thin", patient_id=f"{uid}/5")
        assert ingest(context, "drop", uid) is StudyState.VERIFIED
        assert len(context.ledger.instances.of_study(ref)) == 18
        codes = {one.code for one in context.ledger.series.warnings(ref)}
        assert codes == {"mixed-orientations", "missing-series"}
        assert context.ledger.consistency.violations("demo") == []
