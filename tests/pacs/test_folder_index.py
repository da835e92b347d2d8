"""The index of a drop folder reads each file once, and follows every change."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pacsgrid.config import SourceSettings
from pacsgrid.errors import SourceUnavailableError
from pacsgrid.model import FoundStudy, StudyQuery
from pacsgrid.pacs import folder_index, folder_source
from pacsgrid.pacs.folder_source import FolderSource
from support.dicom import ct

STUDIES, FILES = 12, 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for study in range(STUDIES):
        for number in range(FILES):
            uid = f"1.2.3.{study}"
            ct(tmp_path / "in" / f"{study}" / f"{number}.dcm", uid, f"{uid}.1.{number}")
    return tmp_path / "in"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """The files whose headers were read."""
    seen: list[Path] = []
    real = folder_index.read_header

    def read(path: Path, require_preamble: bool = True) -> object:
        seen.append(path)
        return real(path, require_preamble)

    monkeypatch.setattr(folder_index, "read_header", read)
    yield seen


def source(folder: Path) -> FolderSource:
    """Return the source as each process opens it."""
    state = folder.parent / "state"
    return FolderSource(SourceSettings(name="drop", kind="folder", folder=folder, state=state))


def found(folder: Path) -> dict[str, int | None]:
    return {one.study_uid: one.instances for one in source(folder).find_studies(StudyQuery())}


def test_a_run_reads_each_header_once(folder: Path, reads: list[Path], tmp_path: Path) -> None:
    studies = found(folder)
    assert studies == {f"1.2.3.{n}": FILES for n in range(STUDIES)}
    for number, uid in enumerate(studies):
        into = tmp_path / "staging" / str(number)
        assert len(source(folder).retrieve(FoundStudy(uid, ""), into)) == FILES
    assert len(reads) == STUDIES * FILES
    assert found(folder) == studies
    assert len(reads) == STUDIES * FILES


def test_new_changed_moved_and_removed_files_are_followed(folder: Path, reads: list[Path]) -> None:
    found(folder)
    reads.clear()
    ct(folder / "0" / "new.dcm", "1.2.3.0", "1.2.3.0.1.9")
    changed = folder / "1" / "0.dcm"
    times = changed.stat()
    ct(changed, "1.2.3.0", "1.2.3.0.1.8")
    os.utime(changed, ns=(times.st_atime_ns, times.st_mtime_ns))  # of the same size and time
    (folder / "2" / "0.dcm").unlink()
    shutil.rmtree(folder / "3")
    (folder / "4" / "0.dcm").rename(folder / "4" / "other.dcm")
    assert found(folder) == {
        "1.2.3.0": FILES + 2,
        "1.2.3.1": FILES - 1,
        "1.2.3.2": FILES - 1,
        **{f"1.2.3.{n}": FILES for n in range(4, STUDIES)},
    }
    assert sorted(path.name for path in reads) == ["0.dcm", "new.dcm", "other.dcm"]


def test_a_file_that_came_after_the_search_is_retrieved_too(folder: Path, tmp_path: Path) -> None:
    found(folder)
    ct(folder / "0" / "late.dcm", "1.2.3.0", "1.2.3.0.1.9")
    taken = source(folder).retrieve(FoundStudy("1.2.3.0", ""), tmp_path / "staging")
    assert len(taken) == FILES + 1


def test_a_file_that_was_replaced_after_the_search_is_retrieved_as_it_is(
    folder: Path, tmp_path: Path
) -> None:
    found(folder)
    with (folder / "0" / "0.dcm").open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"\x07")
    taken = source(folder).retrieve(FoundStudy("1.2.3.0", ""), tmp_path / "staging")
    assert any(one.path.read_bytes().endswith(b"\x07") for one in taken)


def test_a_file_that_changes_while_it_is_copied_is_not_taken(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found(folder)
    copy = folder_source._copy

    def change(path: Path, into: Path) -> Path:
        target = copy(path, into)
        with path.open("ab") as stream:
            stream.write(b"more")
        return target

    monkeypatch.setattr(folder_source, "_copy", change)
    with pytest.raises(SourceUnavailableError, match="changed while it was read"):
        source(folder).retrieve(FoundStudy("1.2.3.0", ""), tmp_path / "staging")
    assert not list((tmp_path / "staging").glob("*.dcm"))


@pytest.mark.parametrize("damage", [b"", b"no database", b"SQLite format 3\0" + bytes(4000)])
def test_a_damaged_index_is_made_anew(folder: Path, damage: bytes) -> None:
    studies = found(folder)
    gc.collect()  # closes the index
    file = folder.parent / "state" / "drop.index"
    for suffix in ("-wal", "-shm"):
        Path(f"{file}{suffix}").unlink(missing_ok=True)
    file.write_bytes(damage)
    assert found(folder) == studies


def test_names_that_are_no_text_and_links_are_no_trouble(folder: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"Nov\xe1kov\xe1.dcm")
    ct(folder / "odd" / "1.dcm", "1.2.3.77", "1.2.3.77.1").rename(folder / "odd" / name)
    (folder / "link.dcm").symlink_to(folder / "0" / "0.dcm")
    (folder / "links").symlink_to(folder / "0")
    studies = found(folder)
    assert studies["1.2.3.77"] == 1 and studies["1.2.3.0"] == FILES
    taken = source(folder).retrieve(FoundStudy("1.2.3.77", ""), tmp_path / "staging")
    assert len(taken) == 1


def test_the_index_is_private(folder: Path) -> None:
    found(folder)
    for path in (folder.parent / "state").glob("drop.index*"):
        assert path.stat().st_mode & 0o077 == 0, path.name


SEARCHES = """
import sys
from pathlib import Path
from pacsgrid.config import SourceSettings
from pacsgrid.model import StudyQuery
from pacsgrid.pacs.folder_source import FolderSource
folder = Path(sys.argv[1])
one = FolderSource(SourceSettings(name="drop", kind="folder", folder=folder,
                                  state=folder.parent / "state"))
print(len(list(one.find_studies(StudyQuery()))))
"""


def test_processes_that_search_at_once_agree(folder: Path) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", SEARCHES, str(folder)]
    searching = [
        subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    assert [one.communicate()[0].strip() for one in searching] == [str(STUDIES)] * 4
