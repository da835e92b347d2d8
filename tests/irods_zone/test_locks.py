"""Write locks: concurrent writers, and writers that disappear."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from irods.session import iRODSSession

from irods_zone import ZoneServer
from irods_zone.api_numbers import Api
from irods_zone.consistency_check import check
from irods_zone.error_codes import ErrorCode
from support.waiting import wait_until
from support.zone_client import WireClient, pairs

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
HOME = "/brno/home/rods"
PATH = f"{HOME}/o"
BUSY, WRITING, BAD_DESCRIPTOR = (
    ErrorCode.LOCKED_DATA_OBJECT_ACCESS,
    ErrorCode.INTERMEDIATE_REPLICA_ACCESS,
    ErrorCode.SYS_BAD_FILE_DESCRIPTOR,
)


@pytest.fixture
def zone(tmp_path: Path) -> Iterator[ZoneServer]:
    """A zone with an object of two replicas."""
    with ZoneServer("brno", tmp_path / "z") as server:
        with session(server.port) as s:
            s.resources.create("other", "unixfilesystem", "localhost", "/other")
            two_replicas(s)
        yield server
    assert list(check(tmp_path / "z")) == []


def two_replicas(s: iRODSSession) -> None:
    with s.data_objects.open(PATH, "w", regChksum="") as f:
        f.write(b"first")
    s.data_objects.replicate(PATH, resource="other")


def session(port: int) -> iRODSSession:
    return iRODSSession(host="127.0.0.1", port=port, user="rods", password="rods", zone="brno")


def statuses(s: iRODSSession, path: str = PATH) -> list[str]:
    return [r.status for r in sorted(s.data_objects.get(path).replicas, key=lambda r: r.number)]


def test_siblings_are_locked(zone: ZoneServer) -> None:
    client = WireClient(zone.port)
    with session(zone.port) as s:
        fd = client.open(PATH, os.O_RDWR)
        assert statuses(s) == ["2", "4"]
        client.descriptor(Api.DATA_OBJ_CLOSE_AN, fd)
        assert statuses(s) == ["1", "1"], "nothing was written"
        fd = client.open(PATH, os.O_RDWR, replNum="1")
        client.descriptor(Api.DATA_OBJ_WRITE_AN, fd, 3, b"new")
        assert statuses(s) == ["4", "2"]
        client.descriptor(Api.DATA_OBJ_CLOSE_AN, fd)
        assert statuses(s) == ["0", "1"]
    client.close()


def test_others_are_refused_meanwhile(zone: ZoneServer) -> None:
    writer, other = WireClient(zone.port), WireClient(zone.port)
    fd = writer.open(PATH, os.O_RDWR)
    assert other.open(PATH, os.O_RDWR, replNum="0") == WRITING
    assert other.open(PATH, os.O_RDONLY, replNum="0") == WRITING
    assert other.open(PATH, os.O_RDONLY, replNum="1") == BUSY
    assert other.open(PATH, os.O_RDWR | os.O_CREAT | os.O_TRUNC, replNum="1") == BUSY

    def about(api: int, **keywords: str) -> int:
        return other.ask(api, (
            f"<DataObjInp_PI><objPath>{PATH}</objPath><openFlags>0</openFlags><oprType>0</oprType>"
            f"{pairs(**keywords)}</DataObjInp_PI>"
        )).int_info  # fmt: skip

    assert about(Api.DATA_OBJ_UNLINK_AN, forceFlag="") == BUSY
    assert about(Api.DATA_OBJ_UNLINK_AN) == BUSY
    assert about(Api.DATA_OBJ_REPL_AN, destRescName="demoResc") == BUSY
    assert about(Api.DATA_OBJ_TRIM_AN, replNum="1") == BUSY
    assert about(Api.DATA_OBJ_CHKSUM_AN, forceChksum="") == BUSY
    writer.descriptor(Api.DATA_OBJ_CLOSE_AN, fd)
    assert about(Api.DATA_OBJ_CHKSUM_AN, forceChksum="") == 0
    for client in (writer, other):
        client.close()


@pytest.mark.parametrize("wrote", [False, True])
def test_writer_vanishes(zone: ZoneServer, wrote: bool) -> None:
    client = WireClient(zone.port)
    fd = client.open(PATH, os.O_RDWR)
    if wrote:
        client.descriptor(Api.DATA_OBJ_WRITE_AN, fd, 2, b"xx")
    client.close()
    with session(zone.port) as s:
        wait_until(
            lambda: (not zone.state.locks.held and not zone._connections) or "4" not in statuses(s)
        )
        assert statuses(s) == (["0", "1"] if wrote else ["1", "1"])
        with s.data_objects.open(PATH, "r") as f:
            assert f.read() == b"first", "the good replica is read"
        with s.data_objects.open(PATH, "w", regChksum="") as f:
            f.write(b"again")


def test_writing_together(zone: ZoneServer) -> None:
    """Several connections write one replica with one token, as parallel transfers do."""
    with session(zone.port) as s, s.data_objects.open(PATH, "w") as f:
        token, hierarchy = f.raw.replica_access_info()
        client = WireClient(zone.port)
        keywords = {"replicaToken": token, "resc_hier": hierarchy}
        assert client.open(PATH, os.O_WRONLY, replicaToken="wrong", resc_hier=hierarchy) == WRITING
        fd = client.open(PATH, os.O_WRONLY, **keywords)
        assert client.descriptor(Api.DATA_OBJ_WRITE_AN, fd, 4, b"part").int_info == 4
        client.descriptor(Api.DATA_OBJ_CLOSE_AN, fd)
        late = client.open(PATH, os.O_WRONLY, **keywords)
    with session(zone.port) as s:
        assert statuses(s) == ["1", "0"]
        assert client.descriptor(Api.DATA_OBJ_WRITE_AN, late, 4, b"late").int_info == BAD_DESCRIPTOR
        with s.data_objects.open(PATH, "r") as f:
            assert f.read() == b"part"
    client.close()


def test_one_of_several_vanishes(zone: ZoneServer) -> None:
    """A part may be missing then, so the replica must not become good."""
    first, second = WireClient(zone.port), WireClient(zone.port)
    fd = first.open(PATH, os.O_RDWR)
    with session(zone.port) as s:
        lock = next(iter(zone.state.locks.held.values()))
        lock.token = "shared"
        second.descriptor(
            Api.DATA_OBJ_WRITE_AN,
            second.open(PATH, os.O_WRONLY, replicaToken="shared", replNum="0"),
            1,
            b"x",
        )
        second.close()
        wait_until(lambda: lock.broken)
        assert first.descriptor(Api.DATA_OBJ_CLOSE_AN, fd).int_info == ErrorCode.SYS_COPY_LEN_ERR
        assert statuses(s) == ["0", "1"]
    first.close()


def test_nothing_leaks(zone: ZoneServer) -> None:
    def files() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = files()
    for _ in range(30):
        client = WireClient(zone.port)
        client.open(PATH, os.O_RDONLY)
        client.open(f"{HOME}/new", os.O_RDWR | os.O_CREAT)
        client.close()
        wait_until(lambda: not zone._connections)
    assert files() <= before and not zone.state.locks.held


def start(directory: Path) -> tuple[subprocess.Popen[str], int]:
    command = [sys.executable, "-m", "irods_zone", "--zone", "brno", "--port", "0",
               "--dir", str(directory)]  # fmt: skip
    p = subprocess.Popen(command, cwd=PLUGINS, stdout=subprocess.PIPE, text=True)
    assert p.stdout is not None
    return p, int(p.stdout.readline().rsplit(":", 1)[1])


def test_server_is_killed_while_one_writes(tmp_path: Path) -> None:
    server, port = start(tmp_path / "z")
    with session(port) as s:
        s.resources.create("other", "unixfilesystem", "localhost", "/other")
        two_replicas(s)
    client = WireClient(port)
    client.descriptor(Api.DATA_OBJ_WRITE_AN, client.open(PATH, os.O_RDWR | os.O_TRUNC), 2, b"xx")
    server.send_signal(signal.SIGKILL)
    server.wait()
    assert {p.kind for p in check(tmp_path / "z")} == {"open"}
    server, port = start(tmp_path / "z")
    try:
        with session(port) as s:
            assert statuses(s) == ["0", "1"], "the sibling is as good as it was"
            with s.data_objects.open(PATH, "r") as f:
                assert f.read() == b"first"
    finally:
        server.terminate()
        server.wait()
    assert list(check(tmp_path / "z")) == []


def test_200_connections(tmp_path: Path) -> None:
    """Each has an object of its own open at the same time; all become good."""
    server, port = start(tmp_path / "z")
    try:
        clients = [WireClient(port) for _ in range(200)]
        open_ = [c.open(f"{HOME}/{n}", os.O_RDWR | os.O_CREAT) for n, c in enumerate(clients)]
        assert set(open_) == {3}
        for client in clients:
            assert client.descriptor(Api.DATA_OBJ_WRITE_AN, 3, 5, b"hello").int_info == 5
        assert {c.descriptor(Api.DATA_OBJ_CLOSE_AN, 3).int_info for c in clients} == {0}
        for client in clients:
            client.close()
        files = Path(f"/proc/{server.pid}/fd")
        wait_until(lambda: len(list(files.iterdir())) < 20)
        with session(port) as s:
            assert len(s.collections.get(HOME).data_objects) == 200
    finally:
        server.terminate()
        server.wait()
    assert list(check(tmp_path / "z")) == []
