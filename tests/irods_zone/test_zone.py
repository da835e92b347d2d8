"""The zone used by python-irodsclient."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import irods.exception as ex
import irods.keywords as kw
import pytest
from irods.access import iRODSAccess
from irods.column import Criterion
from irods.manager.data_object_manager import Server_Checksum_Warning
from irods.message import RErrorStack
from irods.message import _do_GeneralAdminRequest as general_admin
from irods.meta import AVUOperation, iRODSMeta
from irods.models import Collection, DataObject, DataObjectMeta
from irods.session import iRODSSession

from support.seeded import seeded_bytes
from support.waiting import wait_until

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
sys.path.insert(0, str(PLUGINS))

from irods_zone import ZoneServer  # noqa: E402

HOME = "/brno/home/rods"


def connect(
    port: int, user: str = "rods", password: str = "rods", zone: str = "brno"
) -> iRODSSession:
    return iRODSSession(host="127.0.0.1", port=port, user=user, password=password, zone=zone)


@pytest.fixture
def zone(tmp_path: Path) -> Iterator[ZoneServer]:
    with ZoneServer("brno", tmp_path / "brno") as server:
        yield server


@pytest.fixture
def session(zone: ZoneServer) -> Iterator[iRODSSession]:
    with connect(zone.port) as s:
        yield s


def write(tmp_path: Path, data: bytes) -> str:
    file = tmp_path / "local"
    file.write_bytes(data)
    return str(file)


def tree(s: iRODSSession) -> None:
    s.resources.create("repl", "replication")
    for name in ("leaf1", "leaf2"):
        s.resources.create(name, "unixfilesystem", "localhost", f"/nowhere/{name}")
        s.resources.add_child("repl", name)


def replicas(s: iRODSSession, path: str) -> list[tuple[int, str, str]]:
    return [(r.number, r.status, r.resc_hier) for r in s.data_objects.get(path).replicas]


def test_collections_and_objects(session: iRODSSession, tmp_path: Path) -> None:
    s = session
    s.collections.create(f"{HOME}/a/b")
    data = seeded_bytes(100_000)
    s.data_objects.put(write(tmp_path, data), f"{HOME}/a/one", **{kw.REG_CHKSUM_KW: ""})
    obj = s.data_objects.get(f"{HOME}/a/one")
    assert obj.size == len(data)
    assert obj.checksum.startswith("sha2:") and obj.checksum == s.data_objects.chksum(obj.path)
    s.data_objects.get(obj.path, str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == data
    s.data_objects.move(obj.path, f"{HOME}/a/b/two & <three>")
    assert [o.name for o in s.collections.get(f"{HOME}/a/b").data_objects] == ["two & <three>"]
    s.collections.move(f"{HOME}/a", f"{HOME}/z")
    assert s.data_objects.exists(f"{HOME}/z/b/two & <three>")
    s.collections.remove(f"{HOME}/z", force=True)
    assert not s.collections.exists(f"{HOME}/z")


def test_seek_and_read(session: iRODSSession) -> None:
    with session.data_objects.open(f"{HOME}/f", "w") as f:
        f.write(b"0123456789")
    with session.data_objects.open(f"{HOME}/f", "r+") as f:
        f.seek(3)
        f.write(b"abc")
        f.seek(0)
        assert f.read() == b"012abc6789"


def test_wrong_checksum_is_refused(session: iRODSSession, tmp_path: Path) -> None:
    f = session.data_objects.open(f"{HOME}/f", "w", **{kw.VERIFY_CHKSUM_KW: "sha2:no"})
    f.write(b"data")
    with pytest.raises(ex.USER_CHKSUM_MISMATCH):
        f.close()
    assert [r[1] for r in replicas(session, f"{HOME}/f")] != ["1"]


def test_verification_reads_the_vault(zone: ZoneServer, session: iRODSSession) -> None:
    with session.data_objects.open(f"{HOME}/f", "w", **{kw.REG_CHKSUM_KW: ""}) as f:
        f.write(b"data")
    obj = session.data_objects.get(f"{HOME}/f")
    session.data_objects.chksum(obj.path, **{kw.VERIFY_CHKSUM_KW: ""})
    vault = Path(obj.replicas[0].path)
    assert (zone.directory / "vault").resolve() in vault.resolve().parents
    vault.write_bytes(b"dat!")
    with pytest.raises(Server_Checksum_Warning):
        # Without r_error the client itself fails with AttributeError on a mismatch.
        session.data_objects.chksum(obj.path, r_error=RErrorStack(), **{kw.VERIFY_CHKSUM_KW: ""})
    assert session.data_objects.chksum(obj.path, **{kw.FORCE_CHKSUM_KW: ""}) != obj.checksum


def test_replication(session: iRODSSession, tmp_path: Path) -> None:
    s, path = session, f"{HOME}/one"
    tree(s)
    options = {kw.REG_CHKSUM_KW: "", kw.DEST_RESC_NAME_KW: "repl"}
    s.data_objects.put(write(tmp_path, b"x" * 1000), path, **options)
    assert replicas(s, path) == [(0, "1", "repl;leaf1"), (1, "1", "repl;leaf2")]
    s.data_objects.replicate(path, resource="demoResc")
    assert len({r.checksum for r in s.data_objects.get(path).replicas}) == 1
    s.data_objects.put(write(tmp_path, b"y" * 1000), path, **options)
    assert [r[1] for r in replicas(s, path)] == ["1", "1", "0"]
    s.data_objects.trim(path, **{kw.REPL_NUM_KW: "2"})
    assert len(replicas(s, path)) == 2
    options[kw.DEST_RESC_NAME_KW] = "leaf1"
    with pytest.raises(ex.DIRECT_CHILD_ACCESS):
        s.data_objects.put(write(tmp_path, b"x"), f"{HOME}/two", **options)


def test_metadata_and_paging(session: iRODSSession) -> None:
    s = session
    coll = s.collections.get(HOME)
    operations = [
        AVUOperation(operation="add", avu=iRODSMeta(f"a{i:04}", "it's", "u")) for i in range(1200)
    ]
    coll.metadata.apply_atomic_operations(*operations)
    assert len(coll.metadata.items()) == 1200
    with pytest.raises(ex.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME):
        coll.metadata.add("a0000", "it's", "u")
    s.data_objects.create(f"{HOME}/o").metadata.add("Modality", "CT")
    found = s.query(Collection.name, DataObject.name).filter(DataObjectMeta.name == "Modality")
    assert [r[DataObject.name] for r in found] == ["o"]
    like = s.query(DataObject.name).filter(Criterion("like", Collection.name, "/brno/home/%"))
    assert len(list(like)) == 1
    assert s.query().count(Collection.id).one()[Collection.id] >= 9


def test_rights(zone: ZoneServer, session: iRODSSession) -> None:
    s = session
    s.users.create("bob", "rodsuser")
    s.users.modify("bob", "password", "bobs-secret")
    obj = s.data_objects.create(f"{HOME}/o")
    with connect(zone.port, "bob", "bobs-secret") as bob:
        assert not bob.data_objects.exists(obj.path)
        s.acls.set(iRODSAccess("read", obj.path, "bob", "brno"))
        bob.data_objects.open(obj.path, "r").close()
        with pytest.raises(ex.CAT_NO_ACCESS_PERMISSION):
            bob.data_objects.open(obj.path, "r+")
        with pytest.raises(ex.CAT_NO_ACCESS_PERMISSION):
            bob.data_objects.unlink(obj.path, force=True)
    with connect(zone.port, "bob", "wrong") as bad, pytest.raises(ex.CAT_INVALID_AUTHENTICATION):
        bad.collections.get("/brno")


def test_federation(tmp_path: Path) -> None:
    with ZoneServer("praha", tmp_path / "p", federate={"brno": ("127.0.0.1", 1, "K")}) as p:
        partner = {"praha": ("127.0.0.1", p.port, "K")}
        with ZoneServer("brno", tmp_path / "b", federate=partner) as b:
            with connect(p.port, zone="praha") as s:
                general_admin(s, "add", "user", "rods#brno", "rodsuser")
            with connect(b.port) as s:
                path = "/praha/home/rods#brno/far"
                s.data_objects.put(write(tmp_path, b"abc"), path, **{kw.REG_CHKSUM_KW: ""})
                assert s.data_objects.get(path).checksum == s.data_objects.chksum(path)
                with pytest.raises(ex.CAT_NO_ACCESS_PERMISSION):
                    s.collections.create("/praha/home/rods/no")
                p.stop()
                start = time.monotonic()
                with pytest.raises(ex.CROSS_ZONE_SOCK_CONNECT_ERR):
                    s.data_objects.get(path)
                assert time.monotonic() - start < 6


def test_dead_connection_frees_the_object(zone: ZoneServer, session: iRODSSession) -> None:
    def half(port: int) -> None:
        f = connect(port).data_objects.open(f"{HOME}/half", "w")
        f.raw.write(b"part")
        os._exit(0)

    child = multiprocessing.get_context("fork").Process(target=half, args=(zone.port,))
    child.start()
    child.join()
    wait_until(lambda: replicas(session, f"{HOME}/half")[0][1] == "0")
    session.data_objects.open(f"{HOME}/half", "w").close()
    assert replicas(session, f"{HOME}/half")[0][1] == "1"


def test_sigkill(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "irods_zone", "--zone", "brno", "--port",
               str(port), "--dir", str(tmp_path / "z")]  # fmt: skip

    def start() -> subprocess.Popen[str]:
        p = subprocess.Popen(command, cwd=PLUGINS, stdout=subprocess.PIPE, text=True)
        assert p.stdout is not None and "accepts" in p.stdout.readline()
        return p

    server = start()
    s = connect(port)
    with s.data_objects.open(f"{HOME}/whole", "w", **{kw.REG_CHKSUM_KW: ""}) as f:
        f.write(b"whole")
    half = s.data_objects.open(f"{HOME}/half", "w")
    half.raw.write(b"half")
    with connect(port) as other:
        assert replicas(other, f"{HOME}/half")[0][1] == "2"
    server.send_signal(signal.SIGKILL)
    server.wait()
    server = start()  # the same port at once
    try:
        with connect(port) as s:
            assert replicas(s, f"{HOME}/whole")[0][1] == "1"
            s.data_objects.chksum(f"{HOME}/whole", **{kw.VERIFY_CHKSUM_KW: ""})
            assert replicas(s, f"{HOME}/half")[0][1] != "1"
    finally:
        server.terminate()
        assert server.wait(5) == 0


def test_no_way_out_of_the_vault(session: iRODSSession) -> None:
    for path in (f"{HOME}/../../../etc/passwd", f"{HOME}/.."):
        with pytest.raises(ex.iRODSException):
            session.data_objects.open(path, "w")
