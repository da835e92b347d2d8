"""`pacsgrid deid` over folders: results, held files, and runs that were killed."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pydicom import dcmread

from pacsgrid.cli import main
from support.dicom import ct
from support.waiting import wait_until


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_bytes(b"k" * 32)
    return path


def tree(path: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in path.rglob("*")
        if file.is_file() and ".pacsgrid" not in file.parts
    }


def arguments(key: Path, *paths: Path) -> list[str]:
    return ["deid", *map(str, paths), "--key-file", str(key), "--project", "demo"]


def test_studies_come_out_whole_and_bad_files_are_held(tmp_path: Path, key: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    for study in ("1.2.3", "1.2.4"):
        for number in range(2):
            ct(source / f"Novakova{study}{number}", study, f"{study}.{number}")
    (source / "letter.txt").write_text("Dear colleague")
    assert main(arguments(key, source, out)) == 3
    first = tree(out)
    assert len([name for name in first if name.endswith(".dcm")]) == 4
    reports = [json.loads(data) for name, data in first.items() if name.endswith(".json")]
    assert [report["checker"]["instances"] for report in reports] == [2, 2]
    everything = b"".join(first.values()) + " ".join(first).encode()
    assert not any(value in everything for value in (b"ovak", b"756203", b"ACC-77123"))
    (reason,) = (tmp_path / "out-held" / "reasons.jsonl").read_text().splitlines()
    assert json.loads(reason)["code"] == "not-dicom"
    stamps = {name: (out / name).stat().st_mtime_ns for name in first}
    assert main(arguments(key, source, out)) == 3
    assert {name: (out / name).stat().st_mtime_ns for name in tree(out)} == stamps


def test_one_more_file_joins_its_study(tmp_path: Path, key: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    ct(source / "a", "1.2.3", "1.2.3.1")
    assert main(arguments(key, source, out)) == 0
    ct(source / "b", "1.2.3", "1.2.3.2")
    assert main(arguments(key, source, out)) == 0
    (report,) = (json.loads(data) for name, data in tree(out).items() if name.endswith(".json"))
    assert report["checker"]["instances"] == 2
    assert report["tags"]["(0010,0010)"] == {"replaced": 2}


def test_a_study_of_two_patients_does_not_come_out(tmp_path: Path, key: Path) -> None:
    ct(tmp_path / "in" / "a", "1.2.3", "1.2.3.1")
    ds = dcmread(ct(tmp_path / "in" / "b", "1.2.3", "1.2.3.2"))
    ds.PatientID = "801101/0022"
    ds.save_as(tmp_path / "in" / "b")
    assert main(arguments(key, tmp_path / "in", tmp_path / "out")) == 3
    assert tree(tmp_path / "out") == {}


def test_another_profile_into_the_same_folder_is_refused(
    tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ct(tmp_path / "in" / "a", "1.2.3", "1.2.3.1")
    assert main(arguments(key, tmp_path / "in", tmp_path / "out")) == 0
    other = [*arguments(key, tmp_path / "in", tmp_path / "out"), "--profile", "research"]
    assert main(other) == 2
    assert "another profile" in capsys.readouterr().err


def test_a_dry_run_writes_nothing_and_says_what_would_be(
    tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ct(tmp_path / "in" / "a", "1.2.3", "1.2.3.1")
    before = sorted(tmp_path.rglob("*"))
    assert main([*arguments(key, tmp_path / "in"), "--dry-run"]) == 0
    assert sorted(tmp_path.rglob("*")) == before
    told = capsys.readouterr().out
    assert "(0010,0010) 1 replaced" in told and "ovak" not in told


def workers(pid: int) -> set[int]:
    """The processes that a process started, and those that these started."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    found, new = set(), {pid}
    while new := {child for child, parent in parents.items() if parent in new} - found:
        found |= new
    return found


@pytest.mark.parametrize(("processes", "each"), [(1, 120), (2, 200)])
def test_a_killed_run_goes_on_and_gives_the_same(
    tmp_path: Path, key: Path, processes: int, each: int
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    files = 2 * each
    for number in range(files):
        ct(source / f"{number}", f"1.2.{number // each}", f"1.2.3.{number}", fill=number)
    command = [sys.executable, "-m", "pacsgrid", *arguments(key, source, out)]
    command += ["--processes", str(processes)]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    journal = out / ".pacsgrid" / "journal.jsonl"

    def has_begun() -> bool:
        return journal.exists() and journal.read_bytes().count(b"\n") >= 4

    wait_until(lambda: has_begun() or killed.poll() is not None, 120, every=0.01)
    others = workers(killed.pid)
    assert len(others) >= (0 if processes == 1 else processes)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL

    def are_gone() -> bool:
        lines = [Path(f"/proc/{pid}/cmdline") for pid in others]
        return not any(line.exists() and line.read_bytes() for line in lines)

    wait_until(are_gone, 120, what="the end of the workers")
    with journal.open("ab") as stream:
        stream.write(b'{"study": "st-')  # as a crash in the middle of a line leaves it
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert f"{files} files" in done.stdout and ", 0 done before" not in done.stdout
    assert main(arguments(key, source, tmp_path / "other")) == 0
    assert tree(out) == tree(tmp_path / "other")


def test_a_difference_is_shown_on_a_terminal_only(tmp_path: Path, key: Path) -> None:
    path = ct(tmp_path / "a", "1.2.3", "1.2.3.1")
    command = [sys.executable, "-m", "pacsgrid", *arguments(key, path), "--diff"]
    piped = subprocess.run(command, capture_output=True, text=True)
    assert piped.returncode == 2 and "ovák" not in piped.stdout + piped.stderr
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdout=theirs)
    os.close(theirs)
    told = b""
    try:
        while chunk := os.read(ours, 4096):
            told += chunk
    except OSError:
        pass  # a terminal that was closed says so
    os.close(ours)
    assert process.wait() == 0
    lines = [line.split() for line in told.decode().splitlines()]
    assert ["~", "(0010,0010)"] in [line[:2] for line in lines] and "ovák" in told.decode()


def test_a_result_that_a_power_cut_took_is_made_again(tmp_path: Path, key: Path) -> None:
    """The journal says that two are done, and one of them is nowhere."""
    source, out = tmp_path / "in", tmp_path / "out"
    for number in range(2):
        ct(source / f"{number}", "1.2.3", f"1.2.3.{number}")
    assert main(arguments(key, source, out)) == 0
    whole = tree(out)
    journal = out / ".pacsgrid" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(line for line in lines if b"settled" not in line))
    next(out.rglob("*.dcm")).unlink()
    assert main(arguments(key, source, out)) == 0
    assert tree(out) == whole
