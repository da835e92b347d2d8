"""Every input file has a result, is in the quarantine, or is listed there with a reason."""

from __future__ import annotations

import errno
import importlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from pacsgrid.cli import main
from pacsgrid.deid import Pseudonyms, atomic_batch, load_profile, processing, quarantine
from pacsgrid.deid.folder import FolderRun, Summary, list_files
from support.dicom import ct, save
from support.waiting import wait_until

PSEUDONYMS = Pseudonyms(b"k" * 32, "demo")


class Ran(NamedTuple):
    summary: Summary
    results: list[Path]
    reasons: dict[str, list[dict[str, Any]]]
    kept: set[str]


def run(source: Path, out: Path, processes: int = 1) -> Ran:
    held = out.with_name(f"{out.name}-held")
    listing = list_files([source], [out, held])
    summary = FolderRun(PSEUDONYMS, load_profile("basic"), out, held, processes).run(listing)
    return told(summary, out, held)


def told(summary: Summary, out: Path, held: Path) -> Ran:
    reasons: dict[str, list[dict[str, Any]]] = {}
    if (held / "reasons.jsonl").exists():
        for line in (held / "reasons.jsonl").read_text().splitlines():
            entry = json.loads(line)
            reasons.setdefault(Path(entry["file"]).name, []).append(entry)
    results = [path for path in out.rglob("*.dcm") if ".pacsgrid" not in path.parts]
    return Ran(summary, results, reasons, {path.stem for path in held.glob("*.dcm")})


def deep(path: Path, levels: int, study: str = "1.2.66", sop: str = "1.2.66.1") -> Path:
    """A slice with sequences nested so deep, their lengths undefined."""
    ct(path, study, sop)
    data = path.read_bytes()
    at = data.index(b"\xe0\x7f\x10\x00")
    head = b"\x40\x00\x75\x02SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    tail = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    path.write_bytes(data[:at] + head * levels + tail * levels + data[at:])
    return path


def deep_by_length(path: Path, levels: int) -> Path:
    """The same with lengths that are told."""
    ct(path, "1.2.67", "1.2.67.1")
    data = path.read_bytes()
    at = data.index(b"\xe0\x7f\x10\x00")
    body = b""
    for _ in range(levels):
        item = b"\xfe\xff\x00\xe0" + len(body).to_bytes(4, "little") + body
        body = b"\x40\x00\x75\x02SQ\0\0" + len(item).to_bytes(4, "little") + item
    path.write_bytes(data[:at] + body + data[at:])
    return path


def dicomdir(path: Path) -> Path:
    ds = Dataset()
    ds.FileSetID = "CD1"
    record = Dataset()
    record.DirectoryRecordType, record.PatientName = "PATIENT", "Novakova^Zofie"
    ds.DirectoryRecordSequence = Sequence([record])
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.1.3.10", "1.2.3.9"
    save(ds, path)
    whole = path.read_bytes()
    at = whole.index(b"\x08\x00\x16\x00UI")
    path.write_bytes(whole[:at] + whole[whole.index(b"\x04\x00\x30\x11") :])
    return path


def nasty(source: Path) -> dict[str, str]:
    """Fill a folder with what may stand there; returns the code by name of what is no result."""
    ct(source / "good" / "1", "1.2.3", "1.2.3.1")
    ct(source / "good" / "2", "1.2.3", "1.2.3.2")
    (source / "copy-of-1").write_bytes((source / "good" / "1").read_bytes())
    ct(source / "clash-a", "1.2.4", "1.2.4.1", fill=1)
    ct(source / "clash-b", "1.2.4", "1.2.4.1", fill=2)
    for name in ("two-a", "two-b", "two-c"):
        ct(source / name, "1.2.5", f"1.2.5.{ord(name[-1])}")
    ds = dcmread(source / "two-b")
    ds.PatientID = "801101/0022"
    ds.save_as(source / "two-b")
    deep(source / "deep", 3000)
    deep_by_length(source / "deeper", 3000)
    dicomdir(source / "DICOMDIR")
    dicomdir(source / "index.bin")
    (source / "empty.dcm").touch()
    (source / "letter.txt").write_text("Dear colleague")
    (source / "images.zip").write_bytes(b"PK\x03\x04" + bytes(200))
    ct(source / "cut", "1.2.6", "1.2.6.1")
    (source / "cut").write_bytes((source / "cut").read_bytes()[:-99])
    ct(source / "bare", "1.2.7", "1.2.7.1")
    data = (source / "bare").read_bytes()
    (source / "bare").write_bytes(data[data.index(b"\x08\x00\x05\x00CS") :])
    ct(source / "line\nbreak", "1.2.8", "1.2.8.1")
    strange = Path(os.fsdecode(os.fsencode(source) + b"/nov\xe1kov\xe1"))
    ct(strange, "1.2.9", "1.2.9.1")
    strange.with_name(strange.name + ".txt").write_text("x")
    os.mkfifo(source / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        # A socket's name is short; what it is called does not matter.
        here = os.getcwd()
        os.chdir(source)
        try:
            listening.bind("sock")
        finally:
            os.chdir(here)
    (source / "link").symlink_to("good/1")
    (source / "dead").symlink_to("nowhere")
    (source / "loop").symlink_to("loop")
    (source / "round").symlink_to(".")
    return {
        "copy-of-1": "", "clash-a": "duplicate-conflict", "clash-b": "duplicate-conflict",
        "two-a": "patient-mismatch", "two-b": "patient-mismatch", "two-c": "patient-mismatch",
        "deep": "too-deep", "deeper": "too-deep", "DICOMDIR": "directory-file",
        "index.bin": "directory-file", "empty.dcm": "not-dicom", "letter.txt": "not-dicom",
        "images.zip": "not-dicom", "cut": "truncated", "nov\\xe1kov\\xe1.txt": "not-dicom",
        "pipe": "pipe", "sock": "socket", "link": "symbolic-link", "dead": "symbolic-link",
        "loop": "symbolic-link", "round": "symbolic-link",
    }  # fmt: skip


def check_nasty(ran: Ran, wanted: dict[str, str]) -> None:
    assert len(ran.results) == 5  # two good ones, the bare one, the two of strange names
    codes = {name: {entry["code"] for entry in lines} for name, lines in ran.reasons.items()}
    assert codes == {name: {code} for name, code in wanted.items() if code}
    passed = {"directory-file", "pipe", "socket", "symbolic-link"}
    held = [e for lines in ran.reasons.values() for e in lines if e["code"] not in passed]
    assert {entry["sha256"] for entry in held} == ran.kept
    assert all(e["sha256"] is None for n, e in by_name(ran) if wanted[n] in passed)
    summary = ran.summary
    assert summary.finished == summary.files == len(wanted) + 5
    assert summary.held == Counter(c for c in wanted.values() if c and c not in passed)
    assert summary.skipped == Counter(c for c in wanted.values() if c in passed)


def by_name(ran: Ran) -> list[tuple[str, dict[str, Any]]]:
    return [(name, entry) for name, lines in ran.reasons.items() for entry in lines]


@pytest.mark.parametrize("processes", [1, 2])
def test_all_of_a_nasty_folder_is_accounted_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    monkeypatch.setattr(processing, "MIN_SECONDS_FOR_PROCESSES", 0.0)
    wanted = nasty(tmp_path / "in")
    ran = run(tmp_path / "in", tmp_path / "out", processes)
    assert (ran.summary.made, ran.summary.copies) == (5, 1)
    check_nasty(ran, wanted)
    lines = (tmp_path / "out-held" / "reasons.jsonl").read_bytes()
    again = run(tmp_path / "in", tmp_path / "out", processes)
    assert (again.summary.made, again.summary.copies, again.summary.earlier) == (0, 0, 6)
    check_nasty(again, wanted)
    assert (tmp_path / "out-held" / "reasons.jsonl").read_bytes() == lines


def test_a_killed_run_over_it_goes_on_and_names_the_same(tmp_path: Path) -> None:
    wanted = nasty(tmp_path / "in")
    (tmp_path / "key").write_bytes(b"k" * 32)
    out, reasons = tmp_path / "out", tmp_path / "out-held" / "reasons.jsonl"
    command = [sys.executable, "-m", "pacsgrid", "deid", str(tmp_path / "in"), str(out)]
    command += ["--key-file", str(tmp_path / "key"), "--project", "demo", "--processes", "1"]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def has_held_one() -> bool:
        return reasons.exists() and b"not-dicom" in reasons.read_bytes()

    wait_until(lambda: has_held_one() or killed.poll() is not None, every=0.002)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    with reasons.open("ab") as stream:
        stream.write(b'{"file": "cut by')
    check_nasty(run(tmp_path / "in", out), wanted)


def test_the_quarantine_is_its_owners_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        nasty(tmp_path / "in")
        run(tmp_path / "in", tmp_path / "out")
    finally:
        os.umask(old)
    held = tmp_path / "out-held"
    assert stat.S_IMODE(held.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in held.iterdir()} == {0o600}


def test_a_cd_ends_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "key").write_bytes(b"k" * 32)
    ct(tmp_path / "in" / "IMG1", "1.2.3", "1.2.3.1")
    dicomdir(tmp_path / "in" / "DICOMDIR")
    paths = [str(tmp_path / "in"), str(tmp_path / "out")]
    assert main(["deid", *paths, "--key-file", str(tmp_path / "key"), "--project", "d"]) == 0
    assert "1 passed over" in (out := capsys.readouterr().out) and "directory-file" in out


@pytest.mark.parametrize("how", ["bytes", "meta", "preamble", "padding", "other folder"])
def test_a_copy_is_taken_once(tmp_path: Path, how: str) -> None:
    source = tmp_path / "in"
    data = ct(source / "a", "1.2.3", "1.2.3.1").read_bytes()
    ct(source / "b", "1.2.3", "1.2.3.2")
    twin = source / ("sub/z" if how == "other folder" else "z")
    twin.parent.mkdir(exist_ok=True)
    if how == "meta":
        ds = dcmread(source / "a")
        ds.file_meta.SourceApplicationEntityTitle = "OTHER"
        ds.save_as(twin)
    elif how == "preamble":
        twin.write_bytes(b"II*\0" + bytes(124) + data[128:])
    else:
        twin.write_bytes(data + (b"\0\0" if how == "padding" else b""))
    ran = run(source, tmp_path / "out")
    assert (ran.summary.made, ran.summary.copies, dict(ran.summary.held)) == (2, 1, {})
    (report,) = (json.loads(p.read_text()) for p in (tmp_path / "out").rglob("*.json"))
    assert report["checker"]["instances"] == 2
    (source / "third").write_bytes(data)  # a copy that comes later
    later = run(source, tmp_path / "out").summary
    assert (later.made, later.earlier, later.finished, later.files) == (0, 4, 4, 4)
    assert len(ran.results) == 2


def test_a_copy_of_what_is_held_is_held(tmp_path: Path) -> None:
    data = ct(tmp_path / "in" / "a", "1.2.3", "1.2.3.1").read_bytes()
    for name in ("a", "b"):
        (tmp_path / "in" / name).write_bytes(data[:-10])
    ran = run(tmp_path / "in", tmp_path / "out")
    assert dict(ran.summary.held) == {"truncated": 2} and set(ran.reasons) == {"a", "b"}


def test_a_late_file_of_another_patient_leaves_what_is_settled(tmp_path: Path) -> None:
    ct(tmp_path / "in" / "a", "1.2.3", "1.2.3.1")
    run(tmp_path / "in", tmp_path / "out")
    ct(tmp_path / "in" / "b", "1.2.3", "1.2.3.2", patient_id="801101/0022")
    for _ in range(2):
        ran = run(tmp_path / "in", tmp_path / "out")
        assert (ran.summary.earlier, dict(ran.summary.held)) == (1, {"patient-mismatch": 1})
        assert set(ran.reasons) == {"b"} and len(ran.results) == 1


def test_nesting_is_read_up_to_the_limit(tmp_path: Path) -> None:
    deep(tmp_path / "in" / "a", 64, "1.2.1", "1.2.1.1")
    deep(tmp_path / "in" / "b", 65, "1.2.2", "1.2.2.1")
    ran = run(tmp_path / "in", tmp_path / "out")
    assert len(ran.results) == 1
    assert [entry["code"] for entry in ran.reasons["b"]] == ["too-deep"]


@pytest.mark.parametrize("who", ["anonymise", "check"])
@pytest.mark.parametrize("error", [RecursionError, MemoryError, ValueError, UnicodeError])
def test_whatever_one_file_does_is_its_own_affair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, who: str, error: type[Exception]
) -> None:
    for number in range(3):
        ct(tmp_path / "in" / str(number), f"1.2.{number + 3}", f"1.2.{number + 3}.1")
    cls = processing.Anonymiser if who == "anonymise" else processing.Checker
    real = getattr(cls, who)

    def fails(self: Any, path: Path, *rest: Any) -> Any:
        if path.name == "1":
            raise error("Nováková")
        return real(self, path, *rest)

    monkeypatch.setattr(cls, who, fails)
    ran = run(tmp_path / "in", tmp_path / "out")
    assert len(ran.results) == 2 and set(ran.reasons) == {"1"}
    assert "ovák" not in json.dumps(ran.reasons, ensure_ascii=False)
    assert ran.summary.finished == 3


DYING = """
import os
from pacsgrid.deid import processing
from pacsgrid.deid.check import checker

def dies(real, which):
    def instead(*given):
        if given[which].name == "bad":
            os.kill(os.getpid(), 9)
        return real(*given)
    return instead

def start(tools):
    processing._initialise_worker(tools)
    if {phase!r} == "header":
        checker.read_header = dies(checker.read_header, 0)
    processing.Anonymiser.anonymise = dies(processing.Anonymiser.anonymise, 1)
"""


@pytest.mark.parametrize("phase", ["header", "pixels"])
def test_a_process_that_dies_takes_its_study_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    for number in range(4):
        ct(tmp_path / "in" / str(number), f"1.2.{number + 3}", f"1.2.{number + 3}.1")
    ct(tmp_path / "in" / "bad", "1.2.9", "1.2.9.1")
    ct(tmp_path / "in" / "near", "1.2.9", "1.2.9.2")
    # Processes import what starts them: a module that kills the one that comes upon the file.
    name = f"dying_of_{phase}"
    (tmp_path / f"{name}.py").write_text(DYING.format(phase=phase))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(processing, "MIN_SECONDS_FOR_PROCESSES", 0.0)
    monkeypatch.setattr(processing, "_initialise_worker", importlib.import_module(name).start)
    ran = run(tmp_path / "in", tmp_path / "out", 2)
    assert ran.summary.finished == ran.summary.files == 6
    codes = {file: {entry["code"] for entry in lines} for file, lines in ran.reasons.items()}
    # One whose header nobody could read is of no study that it could spoil.
    held = {"bad", "near"} if phase == "pixels" else {"bad"}
    assert codes == {file: {"process-died"} for file in held}
    assert len(ran.results) == 6 - len(held)


def test_a_full_disk_is_told_and_the_run_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key").write_bytes(b"k" * 32)
    for number in range(3):
        ct(tmp_path / "in" / f"Novakova{number}", f"1.2.{number}", f"1.2.3.{number}", fill=number)
    out = tmp_path / "out"
    command = ["deid", str(tmp_path / "in"), str(out), "--key-file", str(tmp_path / "key")]
    command += ["--project", "demo", "--processes", "1"]
    full = OSError(errno.ENOSPC, "No space left on device")
    calls = iter(range(100))

    def sync(handles: list[int]) -> dict[int, OSError]:
        return {handles[0]: full} if next(calls) else {}

    monkeypatch.setattr(atomic_batch, "sync_files", sync)
    assert main(command) == 75
    said = capsys.readouterr().err
    assert str(out) in said and "No space left" in said and "free space" in said
    assert "ovakova" not in said and not list(out.rglob("*.part"))
    monkeypatch.undo()
    assert main(command) == 0
    assert len(told(Summary(), out, tmp_path / "out-held").results) == 3


def test_a_full_quarantine_is_told_and_leaves_nothing_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "letter").write_text("Dear colleague")

    def full(*given: object) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(quarantine.shutil, "copyfileobj", full)
    with pytest.raises(OSError, match=r"out-held cannot be written: Disk quota exceeded; free"):
        run(tmp_path / "in", tmp_path / "out")
    assert not list((tmp_path / "out-held").iterdir())
    monkeypatch.undo()
    assert set(run(tmp_path / "in", tmp_path / "out").reasons) == {"letter"}


def test_what_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ct(tmp_path / "in" / "a", "1.2.3", "1.2.3.1")
    (tmp_path / "in" / "closed").mkdir()
    ct(tmp_path / "in" / "b", "1.2.4", "1.2.4.1")
    real_scan, real_open = os.scandir, Path.open

    def scandir(path: Any) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real_scan(path)

    def opened(self: Path, *given: Any, **more: Any) -> Any:
        if self.name == "b":
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return real_open(self, *given, **more)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(Path, "open", opened)
    ran = run(tmp_path / "in", tmp_path / "out")
    assert ran.summary.held == {"unreadable-file": 2} and set(ran.reasons) == {"closed", "b"}
    assert ran.summary.finished == ran.summary.files == 3 and len(ran.results) == 1


def test_a_study_of_copies_has_each_instance_once(tmp_path: Path) -> None:
    """As the pipeline takes it, from a PACS or a receiver that has one twice."""
    first = ct(tmp_path / "a.dcm", "1.2.3", "1.2.3.1")
    (tmp_path / "b.dcm").write_bytes(first.read_bytes() + b"\0\0")
    files = [tmp_path / "b.dcm", first]
    with processing.StudyProcessor(PSEUDONYMS, load_profile("basic"), 1) as processor:
        batch = processor.process_study(files, tmp_path / "out")
    assert len(batch.made) == 1 and batch.held == [] and batch.counts.instances == 1
    assert [outcome.source for outcome in batch.outcomes if outcome.made] == files
    assert sorted(outcome.is_copy for outcome in batch.outcomes) == [False, True]
