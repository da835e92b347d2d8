"""STOW-RS: instances reach the receiver's folder completely or not at all, then the ingest."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import http.client
import os
import resource
import socket
import struct
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom import dcmread
from pydicom.data import get_testdata_file
from starlette.exceptions import HTTPException

from pacsgrid.config import SourceSettings
from pacsgrid.gateway import Gateway
from pacsgrid.gateway.service import PREFIX, application
from pacsgrid.gateway.web.store import _store_body
from pacsgrid.model import StudyQuery
from pacsgrid.pacs.multipart import MultipartTruncatedError
from pacsgrid.pacs.received_source import ReceivedSource
from pacsgrid.pacs.staging import name_for
from pacsgrid.pacs.storage_scp.completion_watcher import CompletionWatcher
from pacsgrid.pacs.storage_scp.incoming import OWNERS, PARTS, Incoming, recover
from support.dicom import ct
from support.seeded import seeded_bytes
from support.served_zones import Client, Listening, ServedZones, copy_of

KIND = 'multipart/related; type="application/dicom"; boundary=B'


@dataclass
class Storing:
    root: str
    folder: Path
    dir: Path

    def post(
        self, body: Any, kind: str = KIND, path: str = "/studies", name: str = "eva"
    ) -> tuple[int, dict[str, Any]]:
        headers = {"Content-Type": kind}
        answer = Client(self.root, name).post(self.root + path, body, headers=headers, timeout=60)
        return answer.status_code, answer.json()

    def files(self) -> list[Path]:
        return sorted(self.folder.glob("[!.]*/*.dcm"))

    def left(self) -> list[str]:
        return [path.name for path in (self.folder / PARTS).iterdir()]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("storing")
    with ServedZones(folder) as zones:
        site = zones.site(
            receiver={"folder": str(folder / "incoming"), "reserve_mb": 0}, most_upload_mb=1
        )
        with Gateway(site) as gateway, Listening(application(gateway)) as server:
            yield server.url + PREFIX, folder / "incoming"


@pytest.fixture
def storing(service: tuple[str, Path], tmp_path: Path) -> Storing:
    root, folder = service
    for path in folder.glob("[!.]*/*"):
        path.unlink()
    return Storing(root, folder, tmp_path)


def multipart(*contents: bytes, kind: str = "application/dicom", end: bool = True) -> bytes:
    parts = [b"--B\r\nContent-Type: %s\r\n\r\n%s\r\n" % (kind.encode(), c) for c in contents]
    return b"".join(parts) + (b"--B--\r\n" if end else b"")


def datasets(paths: list[Path]) -> set[bytes]:
    """Return the datasets of files, without preamble and file meta information."""
    found = set()
    for path in paths:
        ds = dcmread(path, stop_before_pixels=True)
        data = path.read_bytes()
        found.add(data[144 + int(ds.file_meta.FileMetaInformationGroupLength) :])
    return found


def test_instances_arrive_as_they_were_sent_and_the_ingest_sees_their_study(
    storing: Storing,
) -> None:
    paths = [ct(storing.dir / f"{n}.dcm", "1.2.9", f"1.2.9.1.{n}", fill=n) for n in range(3)]
    for name in ("693_J2KI.dcm", "image_dfl.dcm", "MR_small_bigendian.dcm"):
        paths.append(copy_of(str(get_testdata_file(name)), storing.dir / name))
    status, answer = storing.post(multipart(*(path.read_bytes() for path in paths)))
    assert status == 200
    assert "00081198" not in answer and len(answer["00081199"]["Value"]) == len(paths)
    assert datasets(storing.files()) == datasets(paths) and not storing.left()
    # Storing an instance again adds no file.
    assert storing.post(paths[0].read_bytes(), "application/dicom", "/studies/1.2.9")[0] == 200
    assert len(storing.files()) == len(paths)
    announced = []
    CompletionWatcher(storing.folder, 0.0, 0.0, announced.append, None).scan()
    assert len(announced) == 4
    source = ReceivedSource(SourceSettings(name="received", kind="received", folder=storing.folder))
    (study,) = source.find_studies(StudyQuery(study_uids=("1.2.9",)))
    assert source.list_instances(study) == {f"1.2.9.1.{n}" for n in range(3)}


def test_dicomweb_client_stores(storing: Storing) -> None:
    paths = [ct(storing.dir / f"{n}.dcm", "1.2.9", f"1.2.9.1.{n}", fill=n) for n in range(3)]
    client = DICOMwebClient(storing.root, headers={"Authorization": "Bearer evaeva"})
    answer = client.store_instances([dcmread(path) for path in paths])
    stored = {str(item.ReferencedSOPInstanceUID) for item in answer.ReferencedSOPSequence}
    assert stored == {f"1.2.9.1.{n}" for n in range(3)}
    assert len(storing.files()) == 3


def test_each_instance_that_cannot_be_stored_is_reported(storing: Storing) -> None:
    good = ct(storing.dir / "good.dcm", "1.2.9", "1.2.9.1.1").read_bytes()
    other = ct(storing.dir / "other.dcm", "1.2.8", "1.2.8.1.1").read_bytes()
    nowhere = ct(storing.dir / "nowhere.dcm", "", "1.2.7.1.1").read_bytes()
    body = multipart(b"no DICOM at all", good, other, nowhere)
    status, answer = storing.post(body, path="/studies/1.2.9")
    assert status == 202
    failed = {
        item["00081155"]["Value"][0]: item["00081197"]["Value"][0]
        for item in answer["00081198"]["Value"]
    }
    assert failed == {"1.2.8.1.1": 0xA900, "1.2.7.1.1": 0xC000}
    assert [item["00081155"]["Value"] for item in answer["00081199"]["Value"]] == [["1.2.9.1.1"]]
    assert len(answer["0008119A"]["Value"]) == 1
    status, answer = storing.post(multipart(other), path="/studies/1.2.9")
    assert status == 409 and "00081199" not in answer
    status, answer = storing.post(multipart(good, kind="text/plain"))
    assert status == 409 and len(answer["0008119A"]["Value"]) == 1
    assert len(storing.files()) == 1 and not storing.left()


def test_unauthorised_and_malformed_requests_are_refused(storing: Storing) -> None:
    good = ct(storing.dir / "good.dcm", "1.2.9", "1.2.9.1.1").read_bytes()
    assert storing.post(multipart(good), name="jan")[0] == 403
    assert storing.post(multipart(good), name="stranger")[0] == 401
    assert storing.post(good, "application/pdf")[0] == 415
    assert storing.post(multipart(good, good[:-9], end=False))[0] == 400
    assert len(storing.files()) == 1  # the complete instance; the sender sends it again
    assert storing.post(b"x" * 100_000)[0] == 400
    assert storing.post(multipart(b"x" * (1 << 20)))[0] == 413

    def endless() -> Iterator[bytes]:
        yield multipart(good, end=False)
        for piece in range(40):
            yield seeded_bytes(1 << 16, piece)

    assert storing.post(endless())[0] in (400, 413)
    assert not storing.left()


def test_a_request_that_is_cut_off_leaves_no_partial_file(storing: Storing) -> None:
    good = ct(storing.dir / "good.dcm", "1.2.9", "1.2.9.1.1").read_bytes()
    body = multipart(good, good.replace(b"1.2.9.1.1", b"1.2.9.1.2"))
    parts = urlsplit(storing.root)
    connection = http.client.HTTPConnection(parts.netloc, timeout=20)
    connection.putrequest("POST", f"{parts.path}/studies")
    for name, value in (
        ("Authorization", "Bearer evaeva"),
        ("Content-Type", KIND),
        ("Content-Length", str(len(body))),
    ):
        connection.putheader(name, value)
    connection.endheaders(body[:-200])
    connection.close()
    status, _ = storing.post(multipart(good))
    assert status == 200
    assert len(storing.files()) == 1
    digest = hashlib.sha256(storing.files()[0].read_bytes()).hexdigest()
    assert digest and recover(storing.folder) == 0


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("multipart/related; boundary=B", 200),
        ("multipart/related; type=application/dicom; boundary=B", 200),
        ('Multipart/RELATED; Boundary="B"; Type="Application/DICOM"', 200),
        ('multipart/related; type="application/dicom+json"; boundary=B', 415),
        ('multipart/related; type="application/dicom+xml"; boundary=B', 415),
        ('multipart/related; type="image/jpeg"; boundary=B', 415),
        ("multipart/form-data; boundary=B", 415),
        ("multipart/mixed; boundary=B", 415),
        ("application/dicom+json", 415),
        ("application/json", 415),
        ("text/plain", 415),
        ("x", 415),
        ("", 415),
        ('multipart/related; type="application/dicom"', 400),
        ('multipart/related; type="application/dicom"; boundary=""', 400),
        ('multipart/related; type="application/dicom"; boundary=C', 400),
    ],
)
def test_which_media_types_are_accepted(storing: Storing, kind: str, status: int) -> None:
    good = ct(storing.dir / "good.dcm", "1.2.9", "1.2.9.1.1").read_bytes()
    assert storing.post(multipart(good), kind)[0] == status
    assert len(storing.files()) == (status == 200) and not storing.left()


def test_a_request_without_an_instance_is_refused(storing: Storing) -> None:
    good = ct(storing.dir / "good.dcm", "1.2.9", "1.2.9.1.1").read_bytes()
    for body in (b"--B--\r\n", b"", b"\r\n--B--", b"--B", b"--C\r\n\r\n", good):
        assert storing.post(body)[0] == 400
    assert storing.post(b"", "application/dicom")[0] == 400
    assert storing.post(b"x", "application/dicom")[0] == 409
    assert storing.post(multipart(good, b"")[:-3])[0] == 400
    for path in ("/studies/x", "/studies/1.2/../x", "/studies/*"):
        assert storing.post(multipart(good), path=path)[0] in (400, 404)
    gzipped = {"Content-Type": KIND, "Content-Encoding": "gzip"}
    client = Client(storing.root)
    answer = client.post(f"{storing.root}/studies", multipart(good), headers=gzipped, timeout=60)
    assert answer.status_code == 415
    for length in ("²", "-5", "1e3", "0x10"):
        with socket.create_connection(("127.0.0.1", urlsplit(storing.root).port or 0)) as raw:
            raw.sendall(
                f"POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer evaeva\r\n"
                f"Content-Type: {KIND}\r\nContent-Length: {length}\r\n\r\n".encode("latin-1")
            )
            assert raw.recv(100).startswith(b"HTTP/1.1 400")
    part = b"--B\r\nContent-Length: \xb2\r\n\r\n" + good + b"\r\n--B--"
    assert storing.post(part)[0] == 200


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "full"), HTTPException(413), ValueError("x"), MemoryError(),
        struct.error("x"), asyncio.CancelledError(), KeyboardInterrupt(),
        MultipartTruncatedError("x"),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_an_interrupted_instance_leaves_neither_file_nor_descriptor(
    tmp_path: Path, error: BaseException
) -> None:
    whole = ct(tmp_path / "whole.dcm", "1.2.9", "1.2.9.1.1").read_bytes()
    cut = ct(tmp_path / "cut.dcm", "1.2.9", "1.2.9.1.2").read_bytes()
    folder = tmp_path / "incoming"

    def pieces() -> Iterator[bytes]:
        yield multipart(whole, cut[:-500], end=False)
        raise error

    before = len(os.listdir("/proc/self/fd"))
    with closing(Incoming(folder, 0)) as incoming, suppress(BaseException):
        _store_body(incoming, pieces(), b"B", "")
    assert len(os.listdir("/proc/self/fd")) == before
    assert [path.name for path in folder.glob("[!.]*/*")] == [name_for("1.2.9.1.1")]
    assert not list((folder / PARTS).iterdir()) and not list((folder / OWNERS).iterdir())


def test_a_full_disk_is_reported(tmp_path: Path) -> None:
    paths = [ct(tmp_path / f"{n}.dcm", "1.2.9", f"1.2.9.1.{n}") for n in range(3)]
    body = multipart(*(path.read_bytes() for path in paths))
    before = len(os.listdir("/proc/self/fd"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with closing(Incoming(tmp_path / "incoming", 0)) as incoming:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1500, hard))
        try:
            outcome = _store_body(incoming, iter([body]), b"B", "")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [reason for *_, reason in outcome.failed] == [0xA700] * 3 and not outcome.stored
    assert len(os.listdir("/proc/self/fd")) == before
    assert not list((tmp_path / "incoming" / PARTS).iterdir())
