"""The storage SCP as a service: what it accepts and refuses, and what survives a crash."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

from pacsgrid.config import SourceSettings
from pacsgrid.embedded.sample_data import make_samples
from pacsgrid.model import StudyQuery
from pacsgrid.pacs import open_source
from pacsgrid.pacs.staging import name_for
from pacsgrid.pacs.storage_scp.completion_watcher import ANNOUNCED, announced
from pacsgrid.pacs.storage_scp.incoming import directory_for
from support.certificates import make_certificates
from support.dicom import ct
from support.receiver_process import RunningReceiver, associate
from support.waiting import wait_until

STORESCU = Path("/usr/bin/storescu")


def dataset(path: Path) -> bytes:
    """Return what follows the file meta information."""
    length = int(dcmread(path, stop_before_pixels=True).file_meta.FileMetaInformationGroupLength)
    return path.read_bytes()[144 + length :]


def place(receiver: RunningReceiver, path: Path) -> Path:
    head = dcmread(path, stop_before_pixels=True)
    study = directory_for(str(head.StudyInstanceUID))
    return receiver.folder / study / name_for(str(head.SOPInstanceUID))


def send(receiver: RunningReceiver, paths: list[Path]) -> list[int | None]:
    assoc = associate(receiver.port, paths)
    assert assoc.is_established
    codes = []
    for path in paths:
        codes.append(assoc.send_c_store(path).get("Status"))
        assert codes[-1] is not None, receiver.log.read_text()[-2000:]
    assoc.release()
    return codes


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningReceiver]:
    with RunningReceiver(tmp_path_factory.mktemp("receiver")) as running:
        yield running


def test_every_syntax_arrives_as_it_was_sent(receiver: RunningReceiver, tmp_path: Path) -> None:
    samples = make_samples(tmp_path)
    assert (
        len({dcmread(p, stop_before_pixels=True).file_meta.TransferSyntaxUID for p in samples}) > 4
    )
    assert set(send(receiver, samples)) == {0}
    for path in samples:
        there = place(receiver, path)
        assert dataset(there) == dataset(path)
        came, sent = dcmread(there).file_meta, dcmread(path).file_meta
        assert came.TransferSyntaxUID == sent.TransferSyntaxUID
        assert came.MediaStorageSOPClassUID == sent.MediaStorageSOPClassUID
    # The release was answered, so nothing waits under a temporary name any more.
    assert receiver.unfinished() == []


@pytest.mark.skipif(not STORESCU.exists(), reason="no DCMTK")
def test_dcmtk_sends(receiver: RunningReceiver, tmp_path: Path) -> None:
    paths = [ct(tmp_path / f"{n}.dcm", "1.2.3.50", f"1.2.3.50.1.{n}", fill=n) for n in range(20)]
    command = [str(STORESCU), "-aet", "MODALITY", "-aec", "PACSGRID", "127.0.0.1"]
    subprocess.run([*command, str(receiver.port), *map(str, paths)], check=True)
    assert [dataset(place(receiver, path)) for path in paths] == [dataset(path) for path in paths]


def test_complete_after_quiet_and_again_when_more_comes(
    receiver: RunningReceiver, tmp_path: Path
) -> None:
    paths = [ct(tmp_path / f"{n}.dcm", "1.2.3.51", f"1.2.3.51.1.{n}", fill=n) for n in range(3)]
    directory = receiver.folder / directory_for("1.2.3.51")
    source = open_source(SourceSettings(name="received", kind="received", folder=receiver.folder))
    query = StudyQuery(study_uids=("1.2.3.51",))
    send(receiver, paths[:2])
    assert list(source.find_studies(query)) == []
    wait_until(lambda: len(announced(directory)) == 2)
    (study,) = source.find_studies(query)
    assert (study.instances, study.modalities) == (2, ("CT",))
    send(receiver, paths[2:])
    wait_until(lambda: len(announced(directory)) == 3)
    (study,) = source.find_studies(query)
    items = source.retrieve(study, tmp_path / "in")
    assert {item.sop_uid for item in items} == source.list_instances(study)
    assert sorted(dataset(item.path) for item in items) == sorted(dataset(p) for p in paths)


def test_the_same_again_is_one_and_other_content_is_kept_beside(
    receiver: RunningReceiver, tmp_path: Path
) -> None:
    one = ct(tmp_path / "a.dcm", "1.2.3.52", "1.2.3.52.1", fill=1)
    other = ct(tmp_path / "b.dcm", "1.2.3.52", "1.2.3.52.1", fill=2)
    assert send(receiver, [one]) + send(receiver, [one, one]) == [0, 0, 0]
    files = receiver.folder / directory_for("1.2.3.52")
    assert len(list(files.glob("*.dcm"))) == 1
    assert send(receiver, [other, one, other]) == [0, 0, 0]
    assert {dataset(path) for path in files.glob("*.dcm")} == {dataset(one), dataset(other)}
    assert len(list(files.glob("*.dcm"))) == 2


@pytest.mark.parametrize(
    ("calling", "called", "reason"),
    [("STRANGER", "PACSGRID", 3), ("MODALITY", "OTHER", 7)],
)
def test_titles_are_checked(
    receiver: RunningReceiver, calling: str, called: str, reason: int
) -> None:
    # Processes of associations that are over still count; the watcher alone is to be left.
    wait_until(lambda: len(receiver.children()) == 1)
    assoc = associate(receiver.port, [], calling, ae_title=called)
    assert assoc.is_rejected
    answer = assoc.acceptor.primitive
    assert (answer.result, answer.result_source, answer.diagnostic) == (1, 1, reason)


def test_addresses_are_checked(tmp_path: Path) -> None:
    allow = [{"ae_title": "MODALITY", "address": "192.0.2.0/24"}]
    with RunningReceiver(tmp_path / "r", allow=allow) as elsewhere:
        assoc = associate(elsewhere.port, [])
        assert not assoc.is_established and not assoc.is_rejected


def test_too_many_are_asked_to_come_later(tmp_path: Path) -> None:
    with RunningReceiver(tmp_path / "r", max_associations=3, max_per_peer=2) as small:
        # The connection that saw it start counts until its process is gone.
        wait_until(lambda: "0 instances in" in small.log.read_text())
        wait_until(lambda: len(small.children()) == 1)
        first, second = associate(small.port, []), associate(small.port, [])
        third = associate(small.port, [])
        assert first.is_established and second.is_established and third.is_rejected
        answer = third.acceptor.primitive
        assert (answer.result, answer.result_source, answer.diagnostic) == (2, 3, 2)
        first.release()
        wait_until(lambda: len(small.children()) == 2)
        again = associate(small.port, [])
        assert again.is_established
        again.release()
        second.release()


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no file system of its own to fill")
def test_refuses_before_the_disk_is_full(tmp_path: Path) -> None:
    folder = Path(f"/dev/shm/pacsgrid-{os.getpid()}")
    filler = folder.with_suffix(".filler")
    state = os.statvfs("/dev/shm")
    free = (state.f_bavail * state.f_frsize) >> 20
    paths = [ct(tmp_path / f"{n}.dcm", "1.2.3.53", f"1.2.3.53.1.{n}", fill=n) for n in range(3)]
    try:
        with RunningReceiver(tmp_path / "r", folder, reserve_mb=free - 24) as small:
            assoc = associate(small.port, paths)
            codes = [assoc.send_c_store(paths[0]).get("Status")]
            filler.write_bytes(bytes(32 << 20))
            codes.append(assoc.send_c_store(paths[1]).get("Status"))
            refused = associate(small.port, paths)
            assert refused.is_rejected and refused.acceptor.primitive.result == 2
            filler.unlink()
            codes.append(assoc.send_c_store(paths[2]).get("Status"))
            assoc.release()
            assert codes == [0x0000, 0xA700, 0x0000]
            assert small.files() == sorted(place(small, path) for path in (paths[0], paths[2]))
    finally:
        filler.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    paths = [ct(tmp_path / f"{n}.dcm", "1.2.3.54", f"1.2.3.54.1.{n}", fill=n) for n in range(9)]
    with RunningReceiver(tmp_path / "r", quiet_seconds=60.0) as running:
        for start, by_listener in ((0, False), (3, True)):
            assoc = associate(running.port, paths)
            mine = paths[start : start + 3]
            assert [assoc.send_c_store(path).get("Status") for path in mine] == [0, 0, 0]
            if by_listener:
                running.kill()
                running.start()
            else:  # the association's process alone; the newest child is it
                os.kill(running.children()[-1], 9)
            wait_until(lambda: not running.unfinished())
            assert {place(running, path) for path in mine} <= set(running.files())
            assoc.abort()
        assert len(running.files()) == 6
        assert send(running, paths) == [0] * 9
        assert len(running.files()) == 9


def test_half_an_instance_is_none(receiver: RunningReceiver, tmp_path: Path) -> None:
    path = ct(tmp_path / "a.dcm", "1.2.3.55", "1.2.3.55.1")
    with socket.create_connection(("127.0.0.1", receiver.port)) as raw:
        raw.sendall(associate_request())
        assert raw.recv(65536)[0] == 2
        raw.sendall(store_command("1.2.3.55.1") + data_pdu(dataset(path)[:-9], last=False))
        wait_until(lambda: len(receiver.unfinished()) == 1)
    wait_until(lambda: not receiver.unfinished())
    assert not (receiver.folder / directory_for("1.2.3.55")).exists()


@pytest.mark.parametrize(
    "data", [b"", b"\xff" * 300, struct.pack("<HH2sH", 8, 5, b"CS", 4) + b"ISO "]
)
def test_a_dataset_without_a_study_is_refused(receiver: RunningReceiver, data: bytes) -> None:
    before = receiver.files()
    with socket.create_connection(("127.0.0.1", receiver.port)) as raw:
        raw.sendall(associate_request())
        assert raw.recv(65536)[0] == 2
        raw.sendall(store_command("1.2.3.56.1") + data_pdu(data, last=True))
        answer = raw.recv(65536)
        at = answer.index(struct.pack("<HHI", 0, 0x0900, 2)) + 8
        assert int.from_bytes(answer[at : at + 2], "little") == 0xC000
        raw.sendall(bytes.fromhex("05000000000400000000"))
        assert raw.recv(65536)[0] == 6
    assert receiver.files() == before and receiver.unfinished() == []


def item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(body)) + body


def associate_request() -> bytes:
    context = struct.pack("B3x", 1) + item(0x30, b"1.2.840.10008.5.1.4.1.1.2")
    context += item(0x40, b"1.2.840.10008.1.2.1")
    body = struct.pack(">H2x", 1) + b"PACSGRID".ljust(16) + b"MODALITY".ljust(16) + bytes(32)
    body += item(0x10, b"1.2.840.10008.3.1.1.1") + item(0x20, context)
    body += item(0x50, item(0x51, struct.pack(">I", 16384)))
    return struct.pack(">BxI", 1, len(body)) + body


def data_pdu(data: bytes, last: bool, command: bool = False) -> bytes:
    body = struct.pack(">IBB", len(data) + 2, 1, 2 * last + command) + data
    return struct.pack(">BxI", 4, len(body)) + body


def store_command(uid: str) -> bytes:
    body = b""
    for element, value in (
        (0x0002, b"1.2.840.10008.5.1.4.1.1.2\0"),
        (0x0100, b"\1\0"),
        (0x0110, b"\1\0"),
        (0x0700, b"\0\0"),
        (0x0800, b"\0\0"),
        (0x1000, uid.encode() + b"\0" * (len(uid) % 2)),
    ):
        body += struct.pack("<HHI", 0, element, len(value)) + value
    return data_pdu(body, last=True, command=True)


def test_tls_with_client_certificates(tmp_path: Path) -> None:
    made = make_certificates(tmp_path / "tls")
    files = {
        "cert_file": str(made.server),
        "key_file": str(made.server_key),
        "ca_file": str(made.authority),
    }
    path = ct(tmp_path / "a.dcm", "1.2.3.57", "1.2.3.57.1")
    with RunningReceiver(tmp_path / "r", **files) as running:
        context = ssl.create_default_context(cafile=made.authority)
        stranger = associate(running.port, [path], tls_args=(context, "localhost"))
        assert not stranger.is_established
        context.load_cert_chain(made.client, made.client_key)
        assoc = associate(running.port, [path], tls_args=(context, "localhost"))
        assert assoc.is_established
        assert assoc.send_c_store(path).get("Status") == 0
        assoc.release()
        assert dataset(place(running, path)) == dataset(path)


def test_the_log_names_nobody(receiver: RunningReceiver, tmp_path: Path) -> None:
    path = ct(tmp_path / "a.dcm", "1.2.3.58", "1.2.3.58.1")
    send(receiver, [path])
    wait_until(lambda: len(announced(receiver.folder / directory_for("1.2.3.58"))) == 1)
    told = receiver.log.read_text() + " ".join(str(p) for p in receiver.folder.rglob("*"))
    told += (receiver.folder / directory_for("1.2.3.58") / ANNOUNCED).read_text()
    assert "complete with 1 instances" in told
    for value in ("Nov", "756203", "1.2.3.58", "ACC-77123"):
        assert value not in told
