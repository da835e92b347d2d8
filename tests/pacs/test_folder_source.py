"""Drop folders: DICOMDIR files, files without preamble, full disks, deflated bombs."""

from __future__ import annotations

import errno
import os
import stat
import struct
import tracemalloc
import zlib
from pathlib import Path

import pytest

from pacsgrid.config import SourceSettings
from pacsgrid.errors import SourceUnavailableError, StorageError
from pacsgrid.model import FoundStudy, StudyQuery
from pacsgrid.pacs import staging
from pacsgrid.pacs.folder_source import FolderSource
from pacsgrid.pacs.storage_scp.incoming import Incoming
from support.dicom import ct


def source(folder: Path) -> FolderSource:
    return FolderSource(SourceSettings(name="drop", kind="folder", folder=folder))


def without_preamble(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[data.index(b"\x08\x00\x05\x00CS") :])


def test_a_data_set_without_preamble_is_of_its_study(tmp_path: Path) -> None:
    without_preamble(ct(tmp_path / "in" / "a", "1.2.3", "1.2.3.1"))
    ct(tmp_path / "in" / "b", "1.2.3", "1.2.3.2")
    (tmp_path / "in" / "letter").write_text("Dear colleague, " * 50)
    studies = list(source(tmp_path / "in").find_studies(StudyQuery()))
    assert [(study.study_uid, study.instances) for study in studies] == [("1.2.3", 2), ("", 1)]


def test_a_directory_of_a_file_set_is_no_stray_whatever_its_name(tmp_path: Path) -> None:
    data = ct(tmp_path / "in" / "INDEX", "1.2.3", "1.2.3.1").read_bytes()
    kind = b"1.2.840.10008.1.3.10".ljust(26, b"\0")
    (tmp_path / "in" / "INDEX").write_bytes(data.replace(b"1.2.840.10008.5.1.4.1.1.2\0", kind, 1))
    os.mkfifo(tmp_path / "in" / "pipe")
    assert list(source(tmp_path / "in").find_studies(StudyQuery())) == []
    assert source(tmp_path / "in").strays() == []


def test_a_full_disk_is_not_told_as_a_file_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ct(tmp_path / "in" / "Novakova", "1.2.3", "1.2.3.1")

    def full(handle: int, chunk: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(staging, "_write_all", full)
    with pytest.raises(StorageError, match=r"staging cannot be written: No space.*free space"):
        source(tmp_path / "in").retrieve(FoundStudy("1.2.3", ""), tmp_path / "staging")
    assert not list((tmp_path / "staging").iterdir())
    monkeypatch.undo()
    taken = source(tmp_path / "in").retrieve(FoundStudy("1.2.3", ""), tmp_path / "staging")
    assert len(taken) == 1


def test_a_file_that_cannot_be_read_is_told_without_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ct(tmp_path / "in" / "Novakova", "1.2.3", "1.2.3.1")
    drop = source(tmp_path / "in")
    list(drop.find_studies(StudyQuery()))
    real = Path.open

    def broken(self: Path, *given: str) -> object:
        if self == path:
            raise OSError(errno.EIO, "Input/output error", str(path))
        return real(self, *given)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", broken)
    with pytest.raises(
        SourceUnavailableError, match="a file cannot be read: Input/output"
    ) as caught:
        drop.retrieve(FoundStudy("1.2.3", ""), tmp_path / "staging")
    assert "ovakova" not in str(caught.value)


def test_the_receivers_folder_is_private_from_the_start(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        Incoming(tmp_path / "srv" / "incoming", 0)
    finally:
        os.umask(old)
    places = [tmp_path / "srv" / "incoming", *(tmp_path / "srv" / "incoming").iterdir()]
    assert {stat.S_IMODE(place.stat().st_mode) for place in places} == {0o700}


SIZE = 48 << 20


def bomb(path: Path, syntax: bytes, leave_out: int | None = None) -> None:
    """Write a small deflated file of a study, with a long element before the study's UID."""

    def short(group: int, number: int, value: bytes) -> bytes:
        return struct.pack("<HH2sH", group, number, b"UI", len(value)) + value

    named = {2: b"1.2.840.10008.5.1.4.1.1.2\0", 3: b"1.2.3.1\0", 0x10: syntax}
    named.pop(leave_out or 0, None)
    meta = b"".join(short(2, number, value) for number, value in named.items())
    press = zlib.compressobj(9, wbits=-15)
    packed = press.compress(struct.pack("<HH2sxxI", 9, 0x1010, b"OB", SIZE))
    for _ in range(SIZE >> 20):
        packed += press.compress(bytes(1 << 20))
    for number, value in ((0x0D, b"1.2.3\0"), (0x0E, b"1.2.3.4\0")):
        packed += press.compress(short(0x20, number, value))
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(128) + b"DICM" + meta + packed + press.flush())


@pytest.mark.parametrize(
    ("syntax", "leave_out", "study"),
    [
        (b"1.2.840.10008.1.2.1.99", None, "1.2.3"),
        (b"\t1.2.840.10008.1.2.1.99\0", None, "1.2.3"),
        (b" \r\n1.2.840.10008.1.2.1.99 ", None, "1.2.3"),
        (b"1.2.840.10008.1.2.1.99", 3, ""),  # no SOP Instance UID in the meta information
        (b"\t1.2.840.10008.1.2.1.99\0", 3, ""),
    ],
)
@pytest.mark.parametrize("preamble", [True, False])
def test_whatever_surrounds_its_syntax_a_deflated_file_never_is_whole_in_memory(
    tmp_path: Path, syntax: bytes, leave_out: int | None, study: str, preamble: bool
) -> None:
    path = tmp_path / "in" / "a"
    bomb(path, syntax, leave_out)
    if not preamble:
        path.write_bytes(path.read_bytes()[132:])
    tracemalloc.start()
    try:
        found = [one.study_uid for one in source(tmp_path / "in").find_studies(StudyQuery())]
        assert found == [study if preamble else ""]
        assert tracemalloc.get_traced_memory()[1] < SIZE // 8
    finally:
        tracemalloc.stop()
