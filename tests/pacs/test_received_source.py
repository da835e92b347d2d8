"""The receiver's folder as a source: removal of files, and concurrent arrivals."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pacsgrid.config import SourceSettings
from pacsgrid.model import FoundStudy, StudyQuery
from pacsgrid.pacs.received_source import ReceivedSource
from pacsgrid.pacs.staging import name_for
from pacsgrid.pacs.storage_scp.completion_watcher import CompleteStudy, CompletionWatcher
from pacsgrid.pacs.storage_scp.incoming import PARTS, directory_for
from support.dicom import ct
from support.receiver_process import receive

STUDY = "1.2.9.1"


@dataclass
class Folder:
    """A receiver's folder with its watcher, and a folder for files to send."""

    root: Path
    told: list[CompleteStudy] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.path = self.root / "incoming"
        self.source = ReceivedSource(
            SourceSettings(name="received", kind="received", folder=self.path)
        )
        self.study = FoundStudy(STUDY, "")

    def slice(self, number: int, fill: int = 0) -> Path:
        return ct(self.root / f"{number}.dcm", STUDY, f"{STUDY}.{number}", fill=fill)

    def receive(self, *numbers: int, fill: int = 0) -> None:
        receive(self.path, [self.slice(number, fill) for number in numbers])

    def watch(self) -> list[CompleteStudy]:
        """Scan once; return what was announced."""
        self.told.clear()
        CompletionWatcher(self.path, 0.0, 0.0, self.told.append).scan()
        return self.told

    def found(self) -> list[int | None]:
        return [study.instances for study in self.source.find_studies(StudyQuery())]

    def named(self, *numbers: int) -> Callable[[Path], bool]:
        names = {name_for(f"{STUDY}.{number}") for number in numbers}
        return lambda path: path.name in names


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_what_left_does_not_hide_the_rest(folder: Folder) -> None:
    folder.receive(1, 2, 3)
    assert folder.found() == []
    assert [one.instances for one in folder.watch()] == [3]
    assert folder.source.let_go(folder.study, folder.named(1, 3)) == 2
    assert folder.found() == [1] and folder.watch() == []
    assert folder.source.list_instances(folder.study) == {f"{STUDY}.2"}
    assert list(folder.source.study_uids()) == [STUDY]


def test_an_emptied_study_is_gone_and_a_late_instance_is_announced(folder: Folder) -> None:
    folder.receive(1, 2)
    folder.watch()
    folder.source.let_go(folder.study, lambda path: True)
    assert [path for path in folder.path.iterdir() if not path.name.startswith(".")] == []
    assert folder.watch() == [] and folder.found() == []
    assert folder.source.let_go(folder.study, lambda path: True) == 0
    folder.receive(3)
    assert folder.found() == []  # not before it is complete
    assert [one.instances for one in folder.watch()] == [1]
    assert folder.found() == [1]


def test_an_instance_that_comes_again_is_announced_again(folder: Folder) -> None:
    folder.receive(1, 2)
    folder.watch()
    folder.source.let_go(folder.study, folder.named(1))
    folder.receive(1)
    assert folder.found() == []
    assert [one.instances for one in folder.watch()] == [2]
    assert folder.found() == [2] and folder.watch() == []
    folder.source.announce_again(folder.study)
    assert folder.found() == [] and len(folder.watch()) == 1


def test_an_emptied_directory_that_is_left_is_removed(folder: Folder) -> None:
    folder.receive(1)
    folder.watch()
    directory = folder.path / directory_for(STUDY)
    for path in directory.glob("*.dcm"):
        path.unlink()
    assert directory.exists() and folder.watch() == []
    assert list(folder.source.study_uids()) == [] and not directory.exists()


def test_a_file_that_cannot_be_read_hides_no_other_study(folder: Folder) -> None:
    folder.receive(1)
    other = ct(folder.root / "other.dcm", "1.2.9.2", "1.2.9.2.1")
    receive(folder.path, [other])
    (broken,) = folder.source.files(folder.study)
    broken.write_bytes(b"\0" * 200)
    assert list(folder.source.study_uids()) == ["1.2.9.2"]


def test_nothing_is_lost_while_directories_are_removed(folder: Folder) -> None:
    paths = [folder.slice(number) for number in range(50)]
    receive(folder.path, paths[:1])
    taken: set[str] = set()
    over = threading.Event()

    def take() -> None:
        def goes(path: Path) -> bool:
            taken.add(path.name)
            return True

        while not over.is_set():
            folder.source.let_go(folder.study, goes)

    taker = threading.Thread(target=take)
    taker.start()
    try:
        for path in paths:
            receive(folder.path, [path])
    finally:
        over.set()
        taker.join()
    left = {path.name for path in folder.source.files(folder.study)}
    assert taken | left == {name_for(f"{STUDY}.{number}") for number in range(50)}
    assert list((folder.path / PARTS).iterdir()) == []
