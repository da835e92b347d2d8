"""What the receiver took in leaves its folder once it is proven, and nothing else does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom import dcmread

from pacsgrid.config import ReceiverSettings
from pacsgrid.embedded.stack import Stack
from pacsgrid.ledger.codes import REJECTED, WITHDRAWN
from pacsgrid.ledger.deid_reports import DeidReports
from pacsgrid.ledger.received_files import ReceivedFiles
from pacsgrid.ledger.studies import Studies
from pacsgrid.model import StudyQuery, StudyState
from pacsgrid.pacs.received_source import ReceivedSource
from pacsgrid.pacs.storage_scp.completion_watcher import CompletionWatcher
from pacsgrid.pacs.storage_scp.incoming import Incoming
from pacsgrid.pipeline import (
    STEPS,
    ProjectContext,
    clear_work_folders,
    find_studies,
    run_step,
    waves,
)
from pacsgrid.pipeline.context import WorkFolders
from pacsgrid.pipeline.housekeeping import clean_up
from pacsgrid.pipeline.reprofile import enter_new_versions, outdated_studies
from pacsgrid.pipeline.reprofile_preview import preview_new_versions
from pacsgrid.pipeline.review import Verdict, decide
from pacsgrid.pipeline.withdraw import withdraw
from support.dicom import ct
from support.receiver_process import receive
from support.replica_proofs import proven_once
from support.seeded import number_of
from support.waiting import wait_until
from support.zones_under_test import bare_stack

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with bare_stack(tmp_path_factory.mktemp("received") / "stack") as stack:
        yield stack


class Study:
    """A study that a modality sends bit by bit, each test another."""

    def __init__(self, stack: Stack, uid: str) -> None:
        self.uid = uid
        self.folder = stack.dir / "incoming"
        self.drop = stack.dir / "sent"
        Incoming(self.folder, 0).close()
        self.told: list[int] = []
        self.patient_id = f"{uid}/1234"

    def slice(self, number: int, fill: int = 0, patient_id: str = "") -> Path:
        path = self.drop / f"{self.uid}.{number}.{fill}.dcm"
        who = patient_id or self.patient_id
        return ct(path, self.uid, f"{self.uid}.{number}", fill=fill, patient_id=who)

    def send(self, *numbers: int, fill: int = 0, patient_id: str = "", told: bool = True) -> None:
        receive(self.folder, [self.slice(n, fill, patient_id) for n in numbers])
        if told:
            self.watch()

    def watch(self) -> int:
        """Let the watcher look once; returns how many studies it announced."""
        return CompletionWatcher(self.folder, 0.0, 0.0, lambda study: None).scan()

    def left(self) -> int:
        return len(list(self.folder.glob("[!.]*/*.dcm")))

    def ref(self, context: ProjectContext) -> str:
        return context.pseudonyms.reference("received", self.uid)


@pytest.fixture
def study(stack: Stack, request: pytest.FixtureRequest) -> Iterator[Study]:
    study = Study(stack, f"1.2.9.{number_of(request.node.name)}")
    yield study
    for path in study.folder.glob("[!.]*/*.dcm"):
        path.unlink()


@pytest.fixture
def context(stack: Stack) -> Iterator[ProjectContext]:
    with ProjectContext(stack.site, "demo") as context:
        yield context


def steps(context: ProjectContext) -> list[str]:
    refs = find_studies(context, "received", StudyQuery())
    for name in STEPS:
        refs = run_step(context, name, refs).refs
    return refs


def go(context: ProjectContext) -> list[str]:
    refs = steps(context)
    clear_work_folders(context, refs)
    return refs


def states(context: ProjectContext, ref: str) -> list[str]:
    return [row.became for row in context.ledger.audit.changes(ref)]


def report_of(context: ProjectContext, ref: str) -> dict[str, object]:
    found = context.ledger.reports.get(ref)
    assert found is not None
    return dict(json.loads(found[0]))


def test_what_was_taken_through_is_gone_and_proven(context: ProjectContext, study: Study) -> None:
    study.send(1, 2, 3)
    assert go(context) == [study.ref(context)]
    assert study.left() == 0 and not context.folders(study.ref(context)).staging.exists()
    assert list(study.folder.glob("[!.]*")) == []
    assert (
        proven_once(context, study.ref(context))
        and len(context.ledger.instances.of_study(study.ref(context))) == 3
    )
    assert go(context) == [] and study.watch() == 0


def test_what_comes_while_the_study_is_on_its_way_stays_and_is_taken_next(
    context: ProjectContext, study: Study
) -> None:
    study.send(1, 2)
    ref = study.ref(context)
    refs = find_studies(context, "received", StudyQuery())
    for name in STEPS:
        refs = run_step(context, name, refs).refs
        if name == "retrieve":
            # One is new, one came before with other content; and the watcher saw them.
            study.send(3)
            study.send(2, fill=9)
    clear_work_folders(context, refs)
    assert study.left() == 2 and len(context.ledger.instances.of_study(ref)) == 2
    # What nobody took although it was announced is announced again.
    assert find_studies(context, "received", StudyQuery()) == [] and study.watch() == 1
    go(context)
    assert len(context.ledger.instances.of_study(ref)) == 3 and proven_once(context, ref)
    assert [code for code, _ in context.ledger.held.of_study(ref)] == ["conflict"]
    assert study.left() == 1  # until a steward decides
    assert go(context) == []


def test_a_late_instance_is_added_to_what_is_settled(context: ProjectContext, study: Study) -> None:
    study.send(1, 2)
    go(context)
    before = report_of(context, study.ref(context))
    study.send(7, fill=7)
    assert study.left() == 1
    assert go(context) == [study.ref(context)]
    ref = study.ref(context)
    assert (
        study.left() == 0
        and proven_once(context, ref)
        and len(context.ledger.instances.of_study(ref)) == 3
    )
    assert states(context, ref).count("verified") == 2
    report = report_of(context, ref)
    assert report["checker"]["instances"] == 3 and before["checker"]["instances"] == 2
    assert report["tags"]["(0010,0010)"] == {"replaced": 3} and "earlier_profiles" not in report
    assert go(context) == [] and states(context, ref).count("verified") == 2


def test_an_instance_that_is_sent_again_leaves_and_opens_nothing(
    context: ProjectContext, study: Study
) -> None:
    study.send(1, 2)
    go(context)
    before = states(context, study.ref(context))
    study.send(1)
    assert study.left() == 1
    assert go(context) == [] and study.left() == 0
    assert states(context, study.ref(context)) == before
    # Before the next run, together with a late one: only that one is taken through.
    study.send(2, told=False)
    study.send(3)
    go(context)
    ref = study.ref(context)
    assert (
        study.left() == 0
        and len(context.ledger.instances.of_study(ref)) == 3
        and proven_once(context, ref)
    )
    assert report_of(context, ref)["checker"]["instances"] == 3


def test_other_bytes_of_the_same_result_are_no_conflict(
    context: ProjectContext, study: Study
) -> None:
    study.send(1)
    go(context)
    path = study.slice(1)
    ds = dcmread(path)
    ds.ReferringPhysicianName = "Malá^Eva"  # removed on the way in any case
    ds.save_as(path)
    for _ in range(2):
        receive(study.folder, [path])
        study.watch()
        go(context)
        assert study.left() == 0
    ref = study.ref(context)
    assert (
        len(context.ledger.instances.of_study(ref)) == 1
        and len(context.ledger.received.of_study(ref)) == 2
    )
    assert states(context, ref).count("verified") == 2


def test_a_late_file_of_another_patient_is_held_by_itself(
    context: ProjectContext, study: Study
) -> None:
    study.send(1, 2)
    go(context)
    study.send(3, patient_id="801101/0022")
    study.send(4)
    go(context)
    ref = study.ref(context)
    assert context.ledger.studies.state(ref) is StudyState.VERIFIED and proven_once(context, ref)
    assert len({row.subject for row in context.ledger.instances.of_study(ref)}) == 1
    assert len(context.ledger.instances.of_study(ref)) == 3
    (item,) = context.ledger.held.of_study(ref)
    assert item[0] == "patient-mismatch"
    assert report_of(context, ref)["held"] == {"patient-mismatch": 1}
    assert report_of(context, ref)["checker"]["instances"] == 3
    assert study.left() == 1 and go(context) == []
    # Tried again it is held again; rejected it leaves, and the quarantine has it.
    assert decide(context, ref, Verdict.AGAIN, "eva", "")
    refs = [ref]
    for name in STEPS:
        refs = run_step(context, name, refs).refs
    clear_work_folders(context, refs)
    assert context.ledger.held.of_study(ref) == [item] and study.left() == 1
    decide(context, ref, Verdict.REJECT, "eva", "another patient's")
    assert study.left() == 0 and go(context) == []
    assert (context.folders(ref).quarantine / f"{item[1]}.dcm").exists()


def test_a_held_study_stays_until_it_is_decided(context: ProjectContext, study: Study) -> None:
    study.send(1)
    study.send(2, patient_id="801101/0022")
    go(context)
    ref = study.ref(context)
    assert context.ledger.studies.held_code(ref) == "patient-mismatch"
    clean_up(context, DAY, DAY)
    assert clear_work_folders(context, [ref]) == 0 and study.left() == 2
    decide(context, ref, Verdict.REJECT, "eva", "two patients")
    assert context.ledger.studies.held_code(ref) == REJECTED and study.left() == 0
    assert len(list(context.folders(ref).quarantine.glob("*.dcm"))) == 2
    # More of it is not taken, but not kept there either.
    study.send(3)
    assert go(context) == [] and study.left() == 1
    assert clean_up(context, DAY, DAY).received == 1 and study.left() == 0
    assert len(list(context.folders(ref).quarantine.glob("*.dcm"))) == 3


def test_a_released_study_is_taken_from_the_folder(context: ProjectContext, study: Study) -> None:
    study.send(1)
    study.send(2, patient_id="801101/0022")
    go(context)
    ref = study.ref(context)
    (wrong,) = [p for p in study.folder.glob("[!.]*/*.dcm") if dcmread(p).PatientID[:4] == "8011"]
    wrong.unlink()
    assert decide(context, ref, Verdict.AGAIN, "eva", "the other one was removed")
    assert go(context) == [ref] and study.left() == 0 and proven_once(context, ref)


def test_a_file_that_is_held_stays_and_the_others_leave(
    context: ProjectContext, study: Study
) -> None:
    receive(study.folder, [study.slice(3)])
    (cut,) = study.folder.glob("[!.]*/*.dcm")  # by the disk: the receiver takes whole ones only
    cut.write_bytes(cut.read_bytes()[:-500])
    study.send(1, 2)
    go(context)
    ref = study.ref(context)
    assert context.ledger.studies.state(ref) is StudyState.VERIFIED and study.left() == 1
    before = states(context, ref)
    clean_up(context, DAY, DAY)
    assert go(context) == [] and study.left() == 1 and states(context, ref) == before
    decide(context, ref, Verdict.REJECT, "eva", "cut")
    assert study.left() == 0 and go(context) == [] and study.watch() == 0


def test_withdrawn_patients_leave_too(context: ProjectContext, study: Study, stack: Stack) -> None:
    study.send(1)
    go(context)
    ref = study.ref(context)
    (row,) = context.ledger.instances.of_study(ref)
    study.send(2)
    withdraw(context, row.subject)
    assert context.ledger.studies.state(ref) is StudyState.WITHDRAWN and study.left() == 0
    study.send(3)
    assert go(context) == [] and clean_up(context, DAY, DAY).received == 1 and study.left() == 0
    # A study of theirs that comes only now is held, and neither room keeps it for ever.
    other = Study(stack, f"{study.uid}.7")
    other.patient_id = study.patient_id
    other.send(1)
    go(context)
    assert context.ledger.studies.held_code(other.ref(context)) == WITHDRAWN and other.left() == 1
    assert clean_up(context, DAY, DAY).received == 1 and other.left() == 0
    room = context.folders(other.ref(context)).quarantine
    assert len(list(room.glob("*.dcm"))) == 1
    assert clean_up(context, -DAY, DAY).quarantines >= 1 and not room.exists()


@pytest.mark.parametrize(
    ("place", "method", "calls_before", "gone_before"),
    [
        (ReceivedFiles, "add", 0, 0),
        (DeidReports, "set", 0, 0),
        (Path, "unlink", 2, 2),
        (WorkFolders, "wipe", 0, 4),
    ],
)
def test_killed_anywhere_nothing_is_lost_or_repeated(
    stack: Stack,
    study: Study,
    monkeypatch: pytest.MonkeyPatch,
    place: type,
    method: str,
    calls_before: int,
    gone_before: int,
) -> None:
    study.send(1, 2, 3, 4)
    with ProjectContext(stack.site, "demo") as context:
        go_on, ref = getattr(place, method), study.ref(context)
        calls = 0

        def killed(*given: object, **more: object) -> object:
            nonlocal calls
            if place is not Path or (given and str(given[0]).startswith(str(study.folder))):
                calls += 1
                if calls > calls_before:
                    raise KeyboardInterrupt
            return go_on(*given, **more)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(place, method, killed)
            go(context)
        gone = 4 - study.left()
        assert gone == 0 or (
            context.ledger.studies.state(ref) is StudyState.VERIFIED and proven_once(context, ref)
        )
        assert gone == gone_before
    with ProjectContext(stack.site, "demo") as context:
        if context.ledger.studies.state(ref) is StudyState.VERIFIED:
            clean_up(context, DAY, DAY)
        else:
            go(context)
        assert study.left() == 0 and not context.folders(ref).staging.exists()
        assert proven_once(context, ref) and len(context.ledger.instances.of_study(ref)) == 4
        assert states(context, ref).count("verified") == 1
        assert report_of(context, ref)["checker"]["instances"] == 4


def test_a_late_pass_that_was_killed_counts_once(
    stack: Stack, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.send(1, 2)
    with ProjectContext(stack.site, "demo") as context:
        go(context)
        study.send(3)
        refs = find_studies(context, "received", StudyQuery())
        refs = run_step(context, "retrieve", refs).refs
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Studies, "advance", _killed)
            run_step(context, "anonymise", refs)
    with ProjectContext(stack.site, "demo") as context:
        ref = study.ref(context)
        assert context.ledger.studies.state(ref) is StudyState.RETRIEVED
        assert go(context) == [ref]
        assert report_of(context, ref)["checker"]["instances"] == 3
        assert proven_once(context, ref) and study.left() == 0


RUN = """
from pacsgrid.config import load_site
from pacsgrid.errors import RetryableError
from pacsgrid.model import StudyQuery
from pacsgrid.pipeline import STEPS, ProjectContext, find_studies, run_step, clear_work_folders
while True:
    with ProjectContext(load_site(), "demo") as context:
        try:
            refs = find_studies(context, "received", StudyQuery())
            for name in STEPS:
                refs = run_step(context, name, refs).refs
            clear_work_folders(context, refs)
        except RetryableError:
            pass
"""


def test_a_line_that_is_killed_while_more_comes(stack: Stack, study: Study) -> None:
    studies = [Study(stack, f"{study.uid}.{number}") for number in range(2)]
    site = str(stack.dir / "site.yaml")
    assert stack.site.source("received")  # and the ledger's address is in the environment
    env = {**os.environ, "PACSGRID_SITE": site, "PYTHONPATH": os.pathsep.join(sys.path)}
    with ProjectContext(stack.site, "demo") as context:
        refs = [one.ref(context) for one in studies]

        def anonymised() -> bool:
            return any(list(context.folders(ref).outbox.glob("*/*.dcm")) for ref in refs)

        def leaving() -> bool:
            return study.left() < sent

        for night, when in enumerate((anonymised, leaving)):
            for one in studies:
                one.send(*range(3 * night, 3 * night + 3))
            sent = study.left()
            with subprocess.Popen([sys.executable, "-c", RUN], env=env) as child:
                # It may be through before it is seen; then it is killed a little later.
                wait_until(lambda when=when: when() or study.left() == 0, 180)  # type: ignore[misc]
                child.kill()
        lasting = 0
        while study.left():
            study.watch()
            go(context)
            lasting += 1
            assert lasting < 10
        clean_up(context, DAY, DAY)
        for ref in refs:
            assert context.ledger.studies.state(ref) is StudyState.VERIFIED and proven_once(
                context, ref
            )
            assert (
                len(context.ledger.instances.of_study(ref)) == 6
                and context.ledger.held.of_study(ref) == []
            )
            assert report_of(context, ref)["checker"]["instances"] == 6
            assert not context.folders(ref).staging.exists()


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_rooms_on_another_file_system(
    context: ProjectContext, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    study.send(1, 2)
    with monkeypatch.context() as patch:
        patch.setattr("pacsgrid.pacs.received_source.os.link", refused)
        refs = steps(context)
    clear_work_folders(context, refs)
    assert study.left() == 0 and proven_once(context, study.ref(context))


def test_what_an_older_version_left_is_proven_and_leaves(
    context: ProjectContext, study: Study
) -> None:
    study.send(1, 2)
    steps(context)
    ref = study.ref(context)
    context.folders(ref).wipe()  # all that it did
    with context.ledger.database.transaction() as cursor:
        cursor.execute("DELETE FROM pacsgrid.received WHERE ref = %s", (ref,))
    clean_up(context, DAY, DAY)
    assert study.left() == 2
    study.watch()
    go(context)
    assert (
        study.left() == 0
        and proven_once(context, ref)
        and len(context.ledger.instances.of_study(ref)) == 2
    )
    assert report_of(context, ref)["checker"]["instances"] == 2


def test_another_project_reads_and_leaves_everything(stack: Stack, study: Study) -> None:
    receiver = ReceiverSettings(folder=study.folder, source="received", project="lungs")
    study.send(1)
    with ProjectContext(replace(stack.site, receiver=receiver), "demo") as context:
        go(context)
        assert proven_once(context, study.ref(context)) and study.left() == 1
        assert clean_up(context, DAY, DAY).received == 0 and go(context) == []
    source = ReceivedSource(stack.site.source("received"))
    assert source.list_instances(next(source.find_studies(StudyQuery()))) == {f"{study.uid}.1"}


def test_pushed_studies_are_anonymised_again_where_the_site_keeps_originals(
    stack: Stack, study: Study, tmp_path: Path
) -> None:
    kept = tmp_path / "originals"
    source = stack.site.sources["received"].model_copy(update={"originals": kept})
    site = replace(stack.site, sources={**stack.site.sources, "received": source})
    demo = site.projects["demo"]

    def of(profile: str) -> ProjectContext:
        projects = {**site.projects, "demo": demo.replace(profile=profile)}
        return ProjectContext(replace(site, projects=projects), "demo")

    def originals() -> list[str]:
        return sorted(path.name for path in kept.glob("*/*.dcm"))

    def again(context: ProjectContext) -> list[str]:
        entered = enter_new_versions(context, "anna", "a better profile", context.profile.name, 9)
        run = f"{context.profile.name}-1"
        refs: list[str] = []
        for name in entered.ingests.values():
            refs += [ref for batch in waves.hand_out(context, name, run, 64) for ref in batch]
        for name in STEPS:
            refs = run_step(context, name, refs).refs
        clear_work_folders(context, refs)
        return refs

    # What was received before originals were kept is left alone.
    with ProjectContext(stack.site, "demo") as context:
        study.send(1)
        assert go(context) == [study.ref(context)]
    with of("research") as context:
        assert study.ref(context) not in dict(outdated_studies(context, 99))
    later = Study(stack, f"{study.uid}.7")
    with of(demo.profile) as context:
        first = later.ref(context)
        later.send(1, 2)
        assert go(context) == [first] and later.left() == 0
        # The same instance once more, with what the profile removes in it: one original stays.
        later.send(3)
        assert go(context) == [first] and later.left() == 0
        before = {row.sop_uid: row.sha256 for row in context.ledger.instances.of_study(first)}
        assert originals() == sorted(f"{uid}.dcm" for uid in before) and len(before) == 3
        assert kept.stat().st_mode & 0o077 == 0
        assert later.uid not in str(sorted(kept.rglob("*")))
    with of("research") as context:
        assert dict(outdated_studies(context, 99)) == {first: "received"}
        (found,) = preview_new_versions(context, 9)
        assert (found.ref, found.changed, found.missing, found.failure) == (first, 3, 0, "")
        (second,) = again(context)
        after = {row.sop_uid: row.sha256 for row in context.ledger.instances.of_study(second)}
        assert after.keys() == before.keys() and not set(after.values()) & set(before.values())
        assert proven_once(context, second)
        assert context.ledger.studies.state(first) is StudyState.SUPERSEDED
        # A late file goes into the new version, and is kept like the others.
        later.send(4)
        assert go(context) == [second] and later.left() == 0
        assert len(context.ledger.instances.of_study(second)) == len(originals()) == 4
        # The same file again is known.
        later.send(4)
        assert clean_up(context, DAY, DAY).received == 1 and later.left() == 0
        assert go(context) == []
    with of("strict") as context:
        (third,) = again(context)
        assert len(context.ledger.instances.of_study(third)) == 4
        subject = context.ledger.instances.of_study(third)[0].subject
        assert withdraw(context, subject) == []
        clean_up(context, DAY, DAY)
        assert originals() == [] and list(kept.iterdir()) == []
