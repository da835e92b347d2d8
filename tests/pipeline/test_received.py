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

from pacsgrid.embedded.stack import Stack
from pacsgrid.ledger import Ledger
from pacsgrid.ledger.codes import REJECTED, WITHDRAWN
from pacsgrid.model import StudyQuery, StudyState
from pacsgrid.pacs.received_source import ReceivedSource
from pacsgrid.pacs.storage_scp.completion_watcher import CompletionWatcher
from pacsgrid.pacs.storage_scp.incoming import Incoming
from pacsgrid.pipeline import STEPS, Line, find_studies, run_step, settle
from pacsgrid.pipeline.context import Rooms
from pacsgrid.pipeline.housekeeping import sweep
from pacsgrid.pipeline.review import Verdict, decide
from pacsgrid.pipeline.withdraw import withdraw
from pacsgrid.receiver_settings import ReceiverSettings
from support.dicom import ct
from support.grids import bare_stack
from support.proof import proven_once
from support.receiving import eventually, receive

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

    def ref(self, line: Line) -> str:
        return line.pseudonyms.reference("received", self.uid)


@pytest.fixture
def study(stack: Stack, request: pytest.FixtureRequest) -> Iterator[Study]:
    study = Study(stack, f"1.2.9.{abs(hash(request.node.name)) % 10**9}")
    yield study
    for path in study.folder.glob("[!.]*/*.dcm"):
        path.unlink()


@pytest.fixture
def line(stack: Stack) -> Iterator[Line]:
    with Line(stack.site, "demo") as line:
        yield line


def steps(line: Line) -> list[str]:
    refs = find_studies(line, "received", StudyQuery())
    for name in STEPS:
        refs = run_step(line, name, refs).refs
    return refs


def go(line: Line) -> list[str]:
    refs = steps(line)
    settle(line, refs)
    return refs


def states(line: Line, ref: str) -> list[str]:
    return [row.became for row in line.ledger.audit(ref)]


def report_of(line: Line, ref: str) -> dict[str, object]:
    found = line.ledger.report(ref)
    assert found is not None
    return dict(json.loads(found[0]))


def test_what_was_taken_through_is_gone_and_proven(line: Line, study: Study) -> None:
    study.send(1, 2, 3)
    assert go(line) == [study.ref(line)]
    assert study.left() == 0 and not line.rooms(study.ref(line)).staging.exists()
    assert list(study.folder.glob("[!.]*")) == []
    assert proven_once(line, study.ref(line)) and len(line.ledger.instances(study.ref(line))) == 3
    assert go(line) == [] and study.watch() == 0


def test_what_comes_while_the_study_is_on_its_way_stays_and_is_taken_next(
    line: Line, study: Study
) -> None:
    study.send(1, 2)
    ref = study.ref(line)
    refs = find_studies(line, "received", StudyQuery())
    for name in STEPS:
        refs = run_step(line, name, refs).refs
        if name == "retrieve":
            # One is new, one came before with other content; and the watcher saw them.
            study.send(3)
            study.send(2, fill=9)
    settle(line, refs)
    assert study.left() == 2 and len(line.ledger.instances(ref)) == 2
    # What nobody took although it was announced is announced again.
    assert find_studies(line, "received", StudyQuery()) == [] and study.watch() == 1
    go(line)
    assert len(line.ledger.instances(ref)) == 3 and proven_once(line, ref)
    assert [code for code, _ in line.ledger.held_items(ref)] == ["conflict"]
    assert study.left() == 1  # until a steward decides
    assert go(line) == []


def test_a_late_instance_is_added_to_what_is_settled(line: Line, study: Study) -> None:
    study.send(1, 2)
    go(line)
    before = report_of(line, study.ref(line))
    study.send(7, fill=7)
    assert study.left() == 1
    assert go(line) == [study.ref(line)]
    ref = study.ref(line)
    assert study.left() == 0 and proven_once(line, ref) and len(line.ledger.instances(ref)) == 3
    assert states(line, ref).count("verified") == 2
    report = report_of(line, ref)
    assert report["checker"]["instances"] == 3 and before["checker"]["instances"] == 2
    assert report["tags"]["(0010,0010)"] == {"replaced": 3} and "earlier_profiles" not in report
    assert go(line) == [] and states(line, ref).count("verified") == 2


def test_an_instance_that_is_sent_again_leaves_and_opens_nothing(line: Line, study: Study) -> None:
    study.send(1, 2)
    go(line)
    before = states(line, study.ref(line))
    study.send(1)
    assert study.left() == 1
    assert go(line) == [] and study.left() == 0
    assert states(line, study.ref(line)) == before
    # Before the next run, together with a late one: only that one is taken through.
    study.send(2, told=False)
    study.send(3)
    go(line)
    ref = study.ref(line)
    assert study.left() == 0 and len(line.ledger.instances(ref)) == 3 and proven_once(line, ref)
    assert report_of(line, ref)["checker"]["instances"] == 3


def test_other_bytes_of_the_same_result_are_no_conflict(line: Line, study: Study) -> None:
    study.send(1)
    go(line)
    path = study.slice(1)
    ds = dcmread(path)
    ds.ReferringPhysicianName = "Malá^Eva"  # removed on the way in any case
    ds.save_as(path)
    for _ in range(2):
        receive(study.folder, [path])
        study.watch()
        go(line)
        assert study.left() == 0
    ref = study.ref(line)
    assert len(line.ledger.instances(ref)) == 1 and len(line.ledger.received(ref)) == 2
    assert states(line, ref).count("verified") == 2


def test_a_late_file_of_another_patient_is_held_by_itself(line: Line, study: Study) -> None:
    study.send(1, 2)
    go(line)
    study.send(3, patient_id="801101/0022")
    study.send(4)
    go(line)
    ref = study.ref(line)
    assert line.ledger.state(ref) is StudyState.VERIFIED and proven_once(line, ref)
    assert len({row.subject for row in line.ledger.instances(ref)}) == 1
    assert len(line.ledger.instances(ref)) == 3
    (item,) = line.ledger.held_items(ref)
    assert item[0] == "patient-mismatch"
    assert report_of(line, ref)["held"] == {"patient-mismatch": 1}
    assert report_of(line, ref)["checker"]["instances"] == 3
    assert study.left() == 1 and go(line) == []
    # Tried again it is held again; rejected it leaves, and the quarantine has it.
    assert decide(line, ref, Verdict.AGAIN, "eva", "")
    refs = [ref]
    for name in STEPS:
        refs = run_step(line, name, refs).refs
    settle(line, refs)
    assert line.ledger.held_items(ref) == [item] and study.left() == 1
    decide(line, ref, Verdict.REJECT, "eva", "another patient's")
    assert study.left() == 0 and go(line) == []
    assert (line.rooms(ref).quarantine / f"{item[1]}.dcm").exists()


def test_a_held_study_stays_until_it_is_decided(line: Line, study: Study) -> None:
    study.send(1)
    study.send(2, patient_id="801101/0022")
    go(line)
    ref = study.ref(line)
    assert line.ledger.held_code(ref) == "patient-mismatch"
    sweep(line, DAY, DAY)
    assert settle(line, [ref]) == 0 and study.left() == 2
    decide(line, ref, Verdict.REJECT, "eva", "two patients")
    assert line.ledger.held_code(ref) == REJECTED and study.left() == 0
    assert len(list(line.rooms(ref).quarantine.glob("*.dcm"))) == 2
    # More of it is not taken, but not kept there either.
    study.send(3)
    assert go(line) == [] and study.left() == 1
    assert sweep(line, DAY, DAY).received == 1 and study.left() == 0
    assert len(list(line.rooms(ref).quarantine.glob("*.dcm"))) == 3


def test_a_released_study_is_taken_from_the_folder(line: Line, study: Study) -> None:
    study.send(1)
    study.send(2, patient_id="801101/0022")
    go(line)
    ref = study.ref(line)
    (wrong,) = [p for p in study.folder.glob("[!.]*/*.dcm") if dcmread(p).PatientID[:4] == "8011"]
    wrong.unlink()
    assert decide(line, ref, Verdict.AGAIN, "eva", "the other one was removed")
    assert go(line) == [ref] and study.left() == 0 and proven_once(line, ref)


def test_a_file_that_is_held_stays_and_the_others_leave(line: Line, study: Study) -> None:
    receive(study.folder, [study.slice(3)])
    (cut,) = study.folder.glob("[!.]*/*.dcm")  # by the disk: the receiver takes whole ones only
    cut.write_bytes(cut.read_bytes()[:-500])
    study.send(1, 2)
    go(line)
    ref = study.ref(line)
    assert line.ledger.state(ref) is StudyState.VERIFIED and study.left() == 1
    before = states(line, ref)
    sweep(line, DAY, DAY)
    assert go(line) == [] and study.left() == 1 and states(line, ref) == before
    decide(line, ref, Verdict.REJECT, "eva", "cut")
    assert study.left() == 0 and go(line) == [] and study.watch() == 0


def test_withdrawn_patients_leave_too(line: Line, study: Study, stack: Stack) -> None:
    study.send(1)
    go(line)
    ref = study.ref(line)
    (row,) = line.ledger.instances(ref)
    study.send(2)
    withdraw(line, row.subject)
    assert line.ledger.state(ref) is StudyState.WITHDRAWN and study.left() == 0
    study.send(3)
    assert go(line) == [] and sweep(line, DAY, DAY).received == 1 and study.left() == 0
    # A study of theirs that comes only now is held, and neither room keeps it for ever.
    other = Study(stack, f"{study.uid}.7")
    other.patient_id = study.patient_id
    other.send(1)
    go(line)
    assert line.ledger.held_code(other.ref(line)) == WITHDRAWN and other.left() == 1
    assert sweep(line, DAY, DAY).received == 1 and other.left() == 0
    room = line.rooms(other.ref(line)).quarantine
    assert len(list(room.glob("*.dcm"))) == 1
    assert sweep(line, -DAY, DAY).quarantines >= 1 and not room.exists()


@pytest.mark.parametrize(
    ("place", "method", "calls_before", "gone_before"),
    [
        (Ledger, "add_received", 0, 0),
        (Ledger, "set_report", 0, 0),
        (Path, "unlink", 2, 2),
        (Rooms, "wipe", 0, 4),
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
    with Line(stack.site, "demo") as line:
        go_on, ref = getattr(place, method), study.ref(line)
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
            go(line)
        gone = 4 - study.left()
        assert gone == 0 or (
            line.ledger.state(ref) is StudyState.VERIFIED and proven_once(line, ref)
        )
        if place is Path:
            assert gone == 2
    with Line(stack.site, "demo") as line:
        if line.ledger.state(ref) is StudyState.VERIFIED:
            sweep(line, DAY, DAY)
        else:
            go(line)
        assert study.left() == 0 and not line.rooms(ref).staging.exists()
        assert proven_once(line, ref) and len(line.ledger.instances(ref)) == 4
        assert states(line, ref).count("verified") == 1
        assert report_of(line, ref)["checker"]["instances"] == 4


def test_a_late_pass_that_was_killed_counts_once(
    stack: Stack, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.send(1, 2)
    with Line(stack.site, "demo") as line:
        go(line)
        study.send(3)
        refs = find_studies(line, "received", StudyQuery())
        refs = run_step(line, "retrieve", refs).refs
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Ledger, "advance", _killed)
            run_step(line, "anonymise", refs)
    with Line(stack.site, "demo") as line:
        ref = study.ref(line)
        assert line.ledger.state(ref) is StudyState.RETRIEVED
        assert go(line) == [ref]
        assert report_of(line, ref)["checker"]["instances"] == 3
        assert proven_once(line, ref) and study.left() == 0


RUN = """
from pacsgrid.config import load_site
from pacsgrid.errors import RetryableError
from pacsgrid.model import StudyQuery
from pacsgrid.pipeline import STEPS, Line, find_studies, run_step, settle
while True:
    with Line(load_site(), "demo") as line:
        try:
            refs = find_studies(line, "received", StudyQuery())
            for name in STEPS:
                refs = run_step(line, name, refs).refs
            settle(line, refs)
        except RetryableError:
            pass
"""


def test_a_line_that_is_killed_while_more_comes(stack: Stack, study: Study) -> None:
    studies = [Study(stack, f"{study.uid}.{number}") for number in range(2)]
    site = str(stack.dir / "site.yaml")
    assert stack.site.source("received")  # and the ledger's address is in the environment
    env = {**os.environ, "PACSGRID_SITE": site, "PYTHONPATH": os.pathsep.join(sys.path)}
    with Line(stack.site, "demo") as line:
        refs = [one.ref(line) for one in studies]

        def anonymised() -> bool:
            return any(list(line.rooms(ref).outbox.glob("*/*.dcm")) for ref in refs)

        def leaving() -> bool:
            return study.left() < sent

        for night, when in enumerate((anonymised, leaving)):
            for one in studies:
                one.send(*range(3 * night, 3 * night + 3))
            sent = study.left()
            with subprocess.Popen([sys.executable, "-c", RUN], env=env) as child:
                # It may be through before it is seen; then it is killed a little later.
                eventually(lambda when=when: when() or study.left() == 0, 180)  # type: ignore[misc]
                child.kill()
        lasting = 0
        while study.left():
            study.watch()
            go(line)
            lasting += 1
            assert lasting < 10
        sweep(line, DAY, DAY)
        for ref in refs:
            assert line.ledger.state(ref) is StudyState.VERIFIED and proven_once(line, ref)
            assert len(line.ledger.instances(ref)) == 6 and line.ledger.held_items(ref) == []
            assert report_of(line, ref)["checker"]["instances"] == 6
            assert not line.rooms(ref).staging.exists()


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_rooms_on_another_file_system(
    line: Line, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    study.send(1, 2)
    with monkeypatch.context() as patch:
        patch.setattr("pacsgrid.pacs.received_source.os.link", refused)
        refs = steps(line)
    settle(line, refs)
    assert study.left() == 0 and proven_once(line, study.ref(line))


def test_what_an_older_version_left_is_proven_and_leaves(line: Line, study: Study) -> None:
    study.send(1, 2)
    steps(line)
    ref = study.ref(line)
    line.rooms(ref).wipe()  # all that it did
    with line.ledger._transaction() as cursor:
        cursor.execute("DELETE FROM pacsgrid.received WHERE ref = %s", (ref,))
    sweep(line, DAY, DAY)
    assert study.left() == 2
    study.watch()
    go(line)
    assert study.left() == 0 and proven_once(line, ref) and len(line.ledger.instances(ref)) == 2
    assert report_of(line, ref)["checker"]["instances"] == 2


def test_another_project_reads_and_leaves_everything(stack: Stack, study: Study) -> None:
    receiver = ReceiverSettings(folder=study.folder, source="received", project="lungs")
    study.send(1)
    with Line(replace(stack.site, receiver=receiver), "demo") as line:
        go(line)
        assert proven_once(line, study.ref(line)) and study.left() == 1
        assert sweep(line, DAY, DAY).received == 0 and go(line) == []
    source = ReceivedSource(stack.site.source("received"))
    assert source.list_instances(next(source.find_studies(StudyQuery()))) == {f"{study.uid}.1"}
