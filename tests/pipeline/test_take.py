"""A batch is taken on one machine, three studies at a time, within the space that it has."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from pacsgrid.embedded.stack import DSN_ENV, SITE_ENV, Stack
from pacsgrid.errors import RetryableError, StorageError
from pacsgrid.model import StudyQuery, StudyState
from pacsgrid.pipeline import ProjectContext, find_studies, run_step, steps
from pacsgrid.pipeline.staging_space import StagingSpace
from pacsgrid.pipeline.take import sweep, take
from support.dicom import ct
from support.replica_proofs import proven_once
from support.waiting import wait_until
from support.zones_under_test import bare_stack

FILES = 2


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with bare_stack(tmp_path / "stack") as stack:
        yield stack


@pytest.fixture
def context(stack: Stack) -> Iterator[ProjectContext]:
    with ProjectContext(stack.site, "demo") as context:
        yield context


def fill(stack: Stack, studies: int, first: int = 0) -> None:
    for study in range(first, first + studies):
        for number in range(FILES):
            uid = f"1.2.3.{study + 1}"
            ct(stack.drop / f"{study}-{number}.dcm", uid, f"{uid}.1.{number}", fill=number)


def prove(context: ProjectContext, refs: list[str]) -> None:
    for name in ("replicate", "verify"):
        refs = run_step(context, name, refs).refs
    assert all(proven_once(context, ref) for ref in refs)


def work_files(stack: Stack) -> list[Path]:
    rooms = (stack.site.staging, stack.site.outbox)
    return [path for room in rooms for path in room.rglob("*.dcm")]


def test_a_batch_is_deposited_and_leaves_no_file_behind(
    stack: Stack, context: ProjectContext
) -> None:
    fill(stack, 4)
    (stack.drop / "1-0.dcm").write_bytes((stack.drop / "1-0.dcm").read_bytes()[:-500])
    seen: list[tuple[str, bool]] = []
    refs = find_studies(context, "drop", StudyQuery())
    done = take(context, refs, lambda step, ref, seconds, passed: seen.append((step, passed)))
    assert (sorted(done.refs), done.held) == (sorted(refs), 0)
    assert [row.code for row in context.ledger.held.queue("demo")] == ["truncated"]
    for step in ("retrieve", "anonymise", "deposit"):
        assert seen.count((step, True)) == 4
    assert work_files(stack) == []
    prove(context, done.refs)
    # Again it does nothing.
    assert sorted(take(context, refs).refs) == sorted(refs)


def test_the_next_study_is_retrieved_while_one_is_anonymised(
    stack: Stack, context: ProjectContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(stack, 2)
    second_arrived = threading.Event()

    def retrieve(context: ProjectContext, ref: str) -> None:
        before(context, ref)
        if ref == refs[1]:
            second_arrived.set()

    def anonymise(context: ProjectContext, ref: str) -> None:
        # Without a pipeline this would wait for ever for the second study.
        assert second_arrived.wait(60)
        after(context, ref)

    before, after = steps.STEPS["retrieve"].run, steps.STEPS["anonymise"].run
    monkeypatch.setitem(steps.STEPS, "retrieve", replace(steps.STEPS["retrieve"], run=retrieve))
    monkeypatch.setitem(steps.STEPS, "anonymise", replace(steps.STEPS["anonymise"], run=anonymise))
    refs = find_studies(context, "drop", StudyQuery())
    assert sorted(take(context, refs).refs) == sorted(refs)


def test_one_study_s_trouble_leaves_the_others_alone(
    stack: Stack, context: ProjectContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(stack, 5)
    refs = find_studies(context, "drop", StudyQuery())
    real = steps.STEPS["anonymise"].run

    def anonymise(context: ProjectContext, ref: str) -> None:
        if ref == refs[0]:
            raise RetryableError("not now")
        if ref == refs[2]:
            raise ZeroDivisionError("Novak^Jan")
        real(context, ref)

    step = replace(steps.STEPS["anonymise"], run=anonymise)
    monkeypatch.setitem(steps.STEPS, "anonymise", step)
    with pytest.raises(RetryableError, match="2 of 5 studies to try again") as told:
        take(context, refs)
    assert "Novak" not in str(told.value)
    states = context.ledger.studies.states(refs)
    assert [states[ref] for ref in refs] == [
        StudyState.RETRIEVED if n in (0, 2) else StudyState.DEPOSITED for n in range(5)
    ]
    monkeypatch.undo()
    assert sorted(take(context, refs).refs) == sorted(refs)


def test_what_a_zone_lost_before_it_was_replicated_is_retrieved_again(
    stack: Stack, context: ProjectContext
) -> None:
    fill(stack, 1)
    refs = find_studies(context, "drop", StudyQuery())
    (ref,) = take(context, refs).refs
    row = context.ledger.instances.of_study(ref)[0]
    path = f"/brno/home/demo/data/{row.subject}/{row.study_uid}/{row.series_uid}/{row.sop_uid}.dcm"
    context.home.session.data_objects.unlink(path, force=True)
    prove(context, [ref])
    assert len([one for one in context.ledger.audit.changes(ref) if one.became == "found"]) == 2


@contextmanager
def watched(stack: Stack) -> Iterator[list[int]]:
    """Sample how many bytes staging and outbox hold."""
    sizes, stop = [0], threading.Event()

    def sample() -> None:
        while not stop.wait(0.002):
            sizes.append(sum(map(_size, (stack.site.staging, stack.site.outbox))))

    thread = threading.Thread(target=sample)
    thread.start()
    yield sizes
    stop.set()
    thread.join()


def _size(folder: Path) -> int:
    """Return the bytes of the studies' files in a folder, some of which may vanish meanwhile."""
    total = 0
    for place, _, names in (one for study in folder.glob("st-*") for one in os.walk(study)):
        for name in names:
            with suppress(FileNotFoundError):
                total += os.stat(os.path.join(place, name)).st_size
    return total


def test_staging_holds_no_more_than_its_limit_and_one_study(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two tasks of one machine, whose source is much faster than their anonymiser."""
    fill(stack, 12)
    study = FILES * (stack.drop / "0-0.dcm").stat().st_size
    site = replace(stack.site, staging_bytes=4 * study)
    real = steps.STEPS["anonymise"].run

    def anonymise(context: ProjectContext, ref: str) -> None:
        time.sleep(0.2)  # slow, as with large images
        real(context, ref)

    step = replace(steps.STEPS["anonymise"], run=anonymise)
    monkeypatch.setitem(steps.STEPS, "anonymise", step)
    done: list[str] = []

    def task(refs: list[str]) -> None:
        with ProjectContext(site, "demo") as mine:
            done.extend(take(mine, refs).refs)

    with ProjectContext(site, "demo") as context:
        refs = find_studies(context, "drop", StudyQuery())
        with watched(stack) as sizes:
            tasks = [threading.Thread(target=task, args=(refs[n::2],)) for n in range(2)]
            for one in tasks:
                one.start()
            for one in tasks:
                one.join()
    assert sorted(done) == sorted(refs)
    # A study needs its size in staging and about as much in the outbox.
    assert study <= max(sizes) <= site.staging_bytes + 2.2 * study
    assert work_files(stack) == []


def test_a_study_larger_than_the_limit_goes_alone(stack: Stack) -> None:
    fill(stack, 3)
    site = replace(stack.site, staging_bytes=1)
    with ProjectContext(site, "demo") as context, watched(stack) as sizes:
        refs = find_studies(context, "drop", StudyQuery())
        assert sorted(take(context, refs).refs) == sorted(refs)
    study = FILES * (stack.drop / "0-0.dcm").stat().st_size
    assert max(sizes) <= 2.2 * study


def test_a_staging_full_of_what_does_not_go_on_says_so_and_never_waits_for_itself(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(stack, 2)
    site = replace(stack.site, staging_bytes=1)

    def deposit(context: ProjectContext, ref: str) -> None:
        raise RetryableError("the zone does not answer")

    with ProjectContext(site, "demo") as context:
        refs = find_studies(context, "drop", StudyQuery())
        with monkeypatch.context() as patched:
            step = replace(steps.STEPS["deposit"], run=deposit)
            patched.setitem(steps.STEPS, "deposit", step)
            with pytest.raises(RetryableError, match="2 of 2 studies"):
                take(context, refs)
            assert work_files(stack) != []
        # The zone is back: the one that has its files goes first, wherever it stands.
        with pytest.raises(RetryableError, match="staging_gb is"):
            take(context, [ref for ref in refs if not _has_files(stack, ref)])
        take(context, sorted(refs, key=lambda ref: not _has_files(stack, ref)))
        assert set(context.ledger.studies.states(refs).values()) == {StudyState.DEPOSITED}


def _has_files(stack: Stack, ref: str) -> bool:
    return (stack.site.staging / ref).is_dir()


def test_idle_files_make_room_for_others(tmp_path: Path) -> None:
    staging, outbox = tmp_path / "staging", tmp_path / "outbox"
    for name in ("st-idle", "st-kept"):
        (staging / name).mkdir(parents=True)
        (staging / name / "1.dcm").write_bytes(b"x" * 100)
    asked = []

    @contextmanager
    def lock(ref: str) -> Iterator[bool]:
        asked.append(ref)
        yield ref == "st-idle"

    space = StagingSpace(staging, outbox, 250, lock, idle_seconds=0)
    assert space.used() == 400
    with space.study("st-new") as new:
        new.admit()
    assert asked == ["st-idle"] and not (staging / "st-idle").exists()
    assert (staging / "st-kept" / "1.dcm").exists()


def test_a_full_disk_is_waited_for_and_no_failure(
    stack: Stack, context: ProjectContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(stack, 2)
    refs = find_studies(context, "drop", StudyQuery())
    real = steps.STEPS["retrieve"].run
    failed: list[str] = []

    def retrieve(context: ProjectContext, ref: str) -> None:
        if len(failed) < 2:
            failed.append(ref)
            error = StorageError("staging cannot be written: No space left on device")
            error.errno = errno.ENOSPC
            raise error
        real(context, ref)

    monkeypatch.setattr("pacsgrid.pipeline.take._POLL_SECONDS", 0.01)
    step = replace(steps.STEPS["retrieve"], run=retrieve)
    monkeypatch.setitem(steps.STEPS, "retrieve", step)
    assert sorted(take(context, refs).refs) == sorted(refs)
    assert failed == [refs[0], refs[0]]


def test_a_machine_that_comes_back_sweeps_what_another_finished(
    stack: Stack, tmp_path: Path
) -> None:
    """Two machines with folders of their own; one dies after it has anonymised a study."""
    fill(stack, 2)
    ours = replace(stack.site, staging=tmp_path / "s1", outbox=tmp_path / "o1")
    theirs = replace(stack.site, staging=tmp_path / "s2", outbox=tmp_path / "o2")
    with ProjectContext(ours, "demo") as dead:
        refs = find_studies(dead, "drop", StudyQuery())
        run_step(dead, "retrieve", refs)
        run_step(dead, "anonymise", refs[:1])
    with ProjectContext(theirs, "demo") as other:
        assert sorted(take(other, refs).refs) == sorted(refs)
        prove(other, refs)
        assert not [*theirs.staging.rglob("*.dcm"), *theirs.outbox.rglob("*.dcm")]
    assert [*ours.staging.rglob("*.dcm")] and [*ours.outbox.rglob("*.dcm")]
    with ProjectContext(ours, "demo") as back:
        assert sweep(back) == 2
        assert not [*ours.staging.rglob("*.dcm"), *ours.outbox.rglob("*.dcm")]
        assert sweep(back) == 0


def lose_half(staging: Path, ref: str) -> None:
    """Leave what a retrieval or a removal leaves that is killed in the middle."""
    (first, *_) = sorted((staging / ref).glob("*.dcm"))
    first.unlink()


def test_half_a_retrieval_is_not_taken_for_one_that_another_machine_completed(
    stack: Stack, tmp_path: Path
) -> None:
    """One machine dies while it retrieves; another retrieves the study, and dies for good."""
    fill(stack, 1)
    ours = replace(stack.site, staging=tmp_path / "s1", outbox=tmp_path / "o1")
    theirs = replace(stack.site, staging=tmp_path / "s2", outbox=tmp_path / "o2")
    with ProjectContext(ours, "demo") as first, ProjectContext(theirs, "demo") as second:
        (ref,) = refs = find_studies(first, "drop", StudyQuery())
        steps.retrieve(first, ref)  # killed before the ledger knew
        lose_half(ours.staging, ref)
        (ours.staging / ref / ".retrieved").unlink(missing_ok=True)
        run_step(second, "retrieve", refs)
        assert take(first, refs).refs == refs
        assert len(first.ledger.instances.of_study(ref)) == FILES
        prove(first, refs)


def test_an_older_retrieval_is_not_taken_for_a_newer_one(stack: Stack, tmp_path: Path) -> None:
    fill(stack, 1)
    ours = replace(stack.site, staging=tmp_path / "s1", outbox=tmp_path / "o1")
    with ProjectContext(ours, "demo") as first, ProjectContext(stack.site, "demo") as second:
        (ref,) = refs = find_studies(first, "drop", StudyQuery())
        run_step(first, "retrieve", refs)
        second.ledger.studies.reopen(ref)
        ct(stack.drop / "late.dcm", "1.2.3.1", "1.2.3.1.1.9", fill=9)
    with ProjectContext(stack.site, "demo") as second:
        run_step(second, "retrieve", refs)
    with ProjectContext(ours, "demo") as first:
        assert run_step(first, "anonymise", refs).refs == refs
        assert len(first.ledger.instances.of_study(ref)) == FILES + 1


REMOVES = """
import os, shutil, signal, sys
from pacsgrid.config import load_site
from pacsgrid.pipeline import ProjectContext
from pacsgrid.pipeline.staging_space import StagingSpace
def killed(folder, **given):
    os.unlink(sorted(folder.glob("*.dcm"))[0])
    os.kill(os.getpid(), signal.SIGKILL)
with ProjectContext(load_site(), "demo") as context:
    site, lock = context.site, context.ledger.studies.lock
    shutil.rmtree = killed
    with StagingSpace(site.staging, site.outbox, 1, lock, 0).study("st-other") as other:
        other.admit()
"""


def test_a_removal_that_is_killed_loses_no_instance(stack: Stack, context: ProjectContext) -> None:
    fill(stack, 1)
    (ref,) = refs = find_studies(context, "drop", StudyQuery())
    run_step(context, "retrieve", refs)
    child = subprocess.run([sys.executable, "-c", REMOVES], env=environment(stack))
    assert child.returncode == -signal.SIGKILL
    assert len(list((stack.site.staging / ref).glob("*.dcm"))) == FILES - 1
    assert take(context, refs).refs == refs
    assert len(context.ledger.instances.of_study(ref)) == FILES
    prove(context, refs)


def test_idle_files_are_removed_while_nobody_else_can_have_the_study(
    stack: Stack, context: ProjectContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(stack, 1)
    (ref,) = refs = find_studies(context, "drop", StudyQuery())
    run_step(context, "retrieve", refs)
    removing, go_on = threading.Event(), threading.Event()

    def rmtree(folder: Path, ignore_errors: bool) -> None:
        removing.set()
        assert go_on.wait(60)
        real(folder, ignore_errors=ignore_errors)

    def make_room() -> None:
        lock = context.ledger.studies.lock
        with StagingSpace(stack.site.staging, stack.site.outbox, 1, lock, 0).study("st-a") as one:
            one.admit()

    real = shutil.rmtree
    monkeypatch.setattr("pacsgrid.pipeline.staging_space.shutil.rmtree", rmtree)
    monkeypatch.setattr(steps, "LOCK_SECONDS", 0)
    thread = threading.Thread(target=make_room)
    thread.start()
    try:
        assert removing.wait(60)
        # As a verification does that finds the study's objects gone.
        with pytest.raises(RetryableError, match="another worker has it"):
            run_step(context, "deposit", refs)
    finally:
        go_on.set()
        thread.join()
    monkeypatch.undo()
    assert run_step(context, "deposit", refs).refs == refs
    assert len(context.ledger.instances.of_study(ref)) == FILES


TAKES = """
from pacsgrid.config import load_site
from pacsgrid.pipeline import ProjectContext
from pacsgrid.pipeline.take import take
import sys
with ProjectContext(load_site(), "demo") as context:
    print(len(take(context, sys.argv[1:]).refs))
"""


def environment(stack: Stack) -> dict[str, str]:
    return {
        **os.environ,
        SITE_ENV: str(stack.dir / "site.yaml"),
        DSN_ENV: stack.postgres.dsn("ledger"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }


@pytest.mark.parametrize("at", ["st-*", "o-st-*"])
def test_a_killed_task_is_continued(stack: Stack, context: ProjectContext, at: str) -> None:
    fill(stack, 6)
    refs = find_studies(context, "drop", StudyQuery())
    child = subprocess.Popen([sys.executable, "-c", TAKES, *refs], env=environment(stack))
    room = stack.site.outbox if at.startswith("o-") else stack.site.staging
    wait_until(lambda: any(room.glob(at.removeprefix("o-"))), 60, 0.001)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert sorted(take(context, refs).refs) == sorted(refs)
    prove(context, refs)
    assert work_files(stack) == []
    for ref in refs:
        assert len(context.ledger.instances.of_study(ref)) == FILES
