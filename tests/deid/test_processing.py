"""Several processes give the results of one; work is split into parts that are worth sending."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydicom import dcmread

from pacsgrid import disk
from pacsgrid.deid import Pseudonyms, StudyProcessor, atomic_batch, load_profile
from pacsgrid.deid.folder import FolderRun
from pacsgrid.deid.processing import ProcessedFiles, StudyJob
from pacsgrid.deid.workload import estimate_seconds, split_evenly
from support.dicom import ct, save

PSEUDONYMS = Pseudonyms(b"k" * 32, "demo")


SLICE, ULTRASOUND = estimate_seconds(512 << 10, 0), estimate_seconds(600 << 10, 800 * 600)


@pytest.mark.parametrize(
    ("efforts", "sizes"),
    [
        ([SLICE] * 8, [8]),  # not worth a second part
        ([SLICE] * 160, [20] * 8),
        ([ULTRASOUND] * 3, [1, 1, 1]),  # slow ones go apart, however few
        ([SLICE] * 10 + [ULTRASOUND] * 2 + [SLICE] * 5, [10, 1, 1, 5]),
        ([SLICE] * 6000, [256, 256, 238] * 8),  # progress is seen, and little is done again
        ([100.0, 100.0, SLICE, SLICE], [1, 1, 2]),
    ],
)
def test_a_study_is_parted_by_what_its_files_take(efforts: list[float], sizes: list[int]) -> None:
    files = [Path(f"{number:04}") for number in range(len(efforts))]
    made = split_evenly(files, dict(zip(files, efforts, strict=True)), processes=2)
    assert [path for part in made for path in part] == files
    assert [len(part) for part in made] == sizes


def test_a_header_tells_what_a_file_takes(tmp_path: Path) -> None:
    ds = dcmread(ct(tmp_path / "b", "1.2.4", "1.2.4.1"))
    ds.Modality, ds.NumberOfFrames = "US", 3
    ds.PixelData = ds.PixelData * 3
    frames = save(ds, tmp_path / "b")
    ds = dcmread(ct(tmp_path / "a", "1.2.3", "1.2.3.1"))
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    slices = save(ds, tmp_path / "a")
    with StudyProcessor(PSEUDONYMS, load_profile("basic"), processes=1) as processor:
        known = processor.read_headers([slices, frames])
    assert known["1.2.3"].estimated_seconds == {slices: estimate_seconds(slices.stat().st_size, 0)}
    assert known["1.2.4"].estimated_seconds == {
        frames: estimate_seconds(frames.stat().st_size, 3 * 32 * 32)
    }


def studies(folder: Path, count: int, each: int) -> list[Path]:
    """Studies of a few slices, one patient each."""
    return [
        ct(folder / f"{s}-{n}", f"1.2.{s}", f"1.2.{s}.{n}", fill=n, patient_id=f"75620{s}/1234")
        for s in range(count)
        for n in range(each)
    ]


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".pacsgrid" not in path.parts
    }


def test_small_studies_are_under_way_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come out as one after another, and one that is refused takes no other with it."""
    monkeypatch.setattr("pacsgrid.deid.processing.MIN_SECONDS_FOR_PROCESSES", 0)
    files = studies(tmp_path / "in", 7, 3)
    clash = ct(tmp_path / "in" / "9", "1.2.4", "1.2.4.9", patient_id="801101/0022")
    begun: list[StudyJob] = []
    begin = StudyProcessor._start_job

    def noted(self: StudyProcessor, job: StudyJob, here: object) -> object:
        begun.append(job)
        return begin(self, job, here)  # type: ignore[arg-type]

    monkeypatch.setattr(StudyProcessor, "_start_job", noted)
    told: list[int] = []
    run = FolderRun(
        PSEUDONYMS, load_profile("research"), tmp_path / "two", tmp_path / "held", 2,
        lambda summary: told.append(len(begun)),
    )  # fmt: skip
    two = run.run([*files, clash])
    assert max(told[:1]) > 2  # before the first is through others have begun
    monkeypatch.undo()
    one = FolderRun(
        PSEUDONYMS, load_profile("research"), tmp_path / "one", tmp_path / "held-one", 1
    ).run([*files, clash])
    assert tree(tmp_path / "two") == tree(tmp_path / "one")
    assert (two.made, two.held, two.counts) == (one.made, one.held, one.counts)
    assert two.held == {"patient-mismatch": 4} and two.made == 18
    assert sorted(path.name for path in (tmp_path / "two" / ".pacsgrid").iterdir()) == [
        "journal.jsonl"
    ]


def test_nothing_is_told_before_it_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All results of a part go to disk in one call, under names that they do not keep."""
    synced: list[int] = []

    def noted(handles: list[int]) -> dict[int, OSError]:
        synced.append(len(handles))
        assert not list((tmp_path / "out").rglob("*.dcm"))
        return disk.sync_files(handles)

    monkeypatch.setattr(atomic_batch, "sync_files", noted)
    files = studies(tmp_path / "in", 1, 12)
    with StudyProcessor(PSEUDONYMS, load_profile("basic"), processes=1) as processor:
        batch = processor.process_study(files, tmp_path / "out")
    assert synced == [12] and len(batch.made) == 12
    assert all(made.path.is_file() for made in batch.made)
    assert not list((tmp_path / "out").rglob("*.part"))


def test_a_disk_that_fails_leaves_nothing_that_looks_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic_batch, "sync_files", lambda handles: {handles[0]: OSError(5, "I/O")})
    files = studies(tmp_path / "in", 1, 3)
    run = FolderRun(PSEUDONYMS, load_profile("basic"), tmp_path / "out", tmp_path / "held", 1)
    with pytest.raises(OSError):
        run.run(files)
    assert not list((tmp_path / "out").rglob("*.dcm"))
    monkeypatch.undo()
    again = FolderRun(PSEUDONYMS, load_profile("basic"), tmp_path / "out", tmp_path / "held", 1)
    assert again.run(files).made == 3


def shas(batch: ProcessedFiles) -> set[tuple[str, str]]:
    return {(made.sop_uid, made.sha256) for made in batch.made}


def test_processes_change_nothing(tmp_path: Path) -> None:
    files = [ct(tmp_path / f"{n}.dcm", "1.2.3", f"1.2.3.{n}", fill=n) for n in range(140)]
    ct(tmp_path / "139.dcm", "1.2.3", "1.2.3.5", fill=7)
    files[17].write_bytes(files[17].read_bytes()[:-9])
    with StudyProcessor(PSEUDONYMS, load_profile("basic"), processes=1) as one:
        first = one.process_study(files, tmp_path / "one")
    with StudyProcessor(PSEUDONYMS, load_profile("basic"), processes=3) as three:
        second = three.process_study(files, tmp_path / "three")
    assert shas(first) == shas(second) and len(first.made) == 137
    assert first.counts == second.counts
    assert sorted(outcome.code for outcome in second.held) == [
        "duplicate-conflict", "duplicate-conflict", "truncated"
    ]  # fmt: skip


def test_a_name_of_one_file_is_kept_out_of_all(tmp_path: Path) -> None:
    first = ct(tmp_path / "a.dcm", "1.2.3", "1.2.3.1", patient="Šebestová^Alžběta")
    second = ct(tmp_path / "b.dcm", "1.2.3", "1.2.3.2", patient="")
    ds = dcmread(second)
    ds.SeriesDescription = "Sebestova hlava"
    ds.save_as(second)
    with StudyProcessor(PSEUDONYMS, load_profile("research"), processes=1) as processor:
        batch = processor.process_study([first, second], tmp_path / "out")
    assert len(batch.made) == 2
    assert not any(b"ebestova" in made.path.read_bytes() for made in batch.made)


def test_processes_do_not_import_what_their_parent_runs(tmp_path: Path) -> None:
    """Within an Airflow task that is Airflow's own program, which a task may not import anew."""
    ct(tmp_path / "in.dcm", "1.2.3", "1.2.3.1.1")
    (tmp_path / "program").write_text(
        f"""
if __name__ != "__main__":
    raise RuntimeError("imported")
from pathlib import Path
from pacsgrid.deid import Pseudonyms, load_profile, processing
processing.MIN_SECONDS_FOR_PROCESSES = 0
pseudonyms = Pseudonyms(b"k" * 32, "demo")
with processing.StudyProcessor(pseudonyms, load_profile("basic"), processes=2) as processor:
    source, out = Path({str(tmp_path / "in.dcm")!r}), Path({str(tmp_path / "out")!r})
    batch = processor.process_study([source], out)
    print(processor._pool is not None, len(batch.made))
"""
    )
    done = subprocess.run(
        [sys.executable, tmp_path / "program"], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("True 1\n", 0), done.stderr
