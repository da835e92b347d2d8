"""Replies of the zone compared with recorded replies of a real server, message by message."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import irods.exception as ex
import pytest
from irods.access import iRODSAccess
from irods.message import _do_GeneralAdminRequest as general_admin
from irods.meta import AVUOperation, iRODSMeta
from irods.session import iRODSSession

from irods_zone import ZoneServer
from support.zone_replay import Replay, checksum, content, load

HOME = "/brno/home/rods"
PASSWORDS = {"rods": "rods", "researcher": "r-secret"}


def connect(port: int, user: str = "rods", zone: str = "brno") -> iRODSSession:
    return iRODSSession(
        host="127.0.0.1", port=port, user=user, password=PASSWORDS[user], zone=zone
    )  # fmt: skip


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[ZoneServer]:
    """The two zones with the content they had when the conversations were recorded."""
    with ZoneServer("praha", tmp_path / "p", federate={"brno": ("127.0.0.1", 1, "KEY")}) as praha:
        with connect(praha.port, zone="praha") as s:
            general_admin(s, "add", "user", "rods#brno", "rodsuser")
        partner = {"praha": ("127.0.0.1", praha.port, "KEY")}
        with ZoneServer("brno", tmp_path / "b", federate=partner) as brno:
            with connect(brno.port) as s:
                s.resources.create("replResc", "replication")
                for name in ("ufs0", "ufs1"):
                    s.resources.create(name, "unixfilesystem", "localhost", f"/vault_{name}")
                    s.resources.add_child("replResc", name)
                s.resources.create("comp_resc", "compound")
                s.resources.create("bundleResc", "unixfilesystem", "localhost", "/bundle")
                for name in ("steward", "nonadmin", "researcher"):
                    s.users.create(name, "rodsuser")
                s.users.modify("researcher", "password", PASSWORDS["researcher"])
                for name in ("researcher", "rods"):
                    general_admin(s, "add", "user", f"{name}#praha", "rodsuser")
            yield brno


def put(s: iRODSSession, path: str, data: bytes, **options: str) -> None:
    with s.data_objects.open(path, "w", **options) as f:
        f.write(data)


def test_python_client(grid: ZoneServer) -> None:
    with connect(grid.port) as s:
        s.resources.create("simple_resc_BB337AF30BEE6C16", "unixfilesystem", "localhost", "/simple")
        s.collections.create(f"{HOME}/scen/a/b")
        for name in ("one", "two", "a/three", "a/b/four"):
            put(s, f"{HOME}/scen/{name}", b"abc")
    replay = Replay(grid.port, PASSWORDS)
    differences = list(replay.run(load("prc")))
    assert not differences, "\n".join(differences)
    assert replay.compared == 154


def test_icommands(grid: ZoneServer) -> None:
    with connect(grid.port) as s:
        for name in ("alice", "bob"):
            s.users.create(name, "rodsuser")
        for name in ("dx", "t"):
            s.collections.create(f"{HOME}/{name}")
        s.data_objects.touch(f"{HOME}/42132F44FCD73865")
        put(s, f"{HOME}/f.bin", content(3_000_000), destRescName="replResc")
        put(s, f"{HOME}/dirp.tar", b"")
        s.data_objects.truncate(f"{HOME}/dirp.tar", 31498240)
        with connect(grid.port) as other:
            half = other.data_objects.open(f"{HOME}/data_get_issue__722", "w")
            replay = Replay(grid.port, PASSWORDS)
            differences = list(replay.run(load("icommands")))
            assert not differences, "\n".join(differences)
            assert replay.compared == 503
            half.close()


def test_python_client_scenario(grid: ZoneServer, tmp_path: Path) -> None:
    """python-irodsclient runs the recorded scenario and gets the recorded results."""
    file, scen = tmp_path / "sc.bin", f"{HOME}/scen"
    file.write_bytes(content(5000))
    with connect(grid.port) as s:
        s.collections.create(f"{scen}/a/b")
        one = f"{scen}/one.dcm"
        s.data_objects.put(str(file), one, regChksum="", destRescName="demoResc")
        s.data_objects.put(str(file), f"{scen}/two.dcm", verifyChksum="", destRescName="replResc")
        s.data_objects.put(str(file), one)
        assert s.data_objects.get(one).checksum is None, "an overwrite drops the checksum"
        s.data_objects.replicate(one, resource="replResc")
        assert [(r.number, r.status) for r in s.data_objects.get(one).replicas] == [
            (0, "1"), (1, "1"), (2, "1")
        ]  # fmt: skip
        assert s.data_objects.chksum(one, ChksumAll="") == checksum(content(5000))
        obj = s.data_objects.get(one)
        obj.metadata.add("Modality", "CT")
        obj.metadata.add("StudyDate", "20240101", "date")
        obj.metadata.apply_atomic_operations(
            AVUOperation(operation="add", avu=iRODSMeta("A", "1", "u")),
            AVUOperation(operation="remove", avu=iRODSMeta("Modality", "CT")),
        )
        assert sorted((m.name, m.value, m.units) for m in obj.metadata.items()) == [
            ("A", "1", "u"), ("StudyDate", "20240101", "date")
        ]  # fmt: skip
        s.acls.set(iRODSAccess("read", scen, "researcher", "brno"), recursive=True)
        s.acls.set(iRODSAccess("inherit", scen))
        rights = {(a.user_name, a.access_name) for a in s.acls.get(obj)}
        assert rights == {("researcher", "read_object"), ("rods", "own")}
        with s.data_objects.open(f"{scen}/three.txt", "w") as f:
            f.write(b"abc")
        with s.data_objects.open(f"{scen}/three.txt", "r+") as f:
            f.seek(1)
            assert f.read() == b"bc"
            f.seek(0, 2)
            f.write(b"def")
        s.data_objects.move(f"{scen}/three.txt", f"{scen}/a/moved.txt")
        s.data_objects.copy(one, f"{scen}/a/copy.dcm")
        with connect(grid.port, "researcher") as r:
            with r.data_objects.open(one, "r") as f:
                assert f.read() == content(5000)
            with pytest.raises(ex.CAT_NO_ACCESS_PERMISSION):
                r.data_objects.unlink(one, force=True)
            with pytest.raises(ex.CAT_NO_ACCESS_PERMISSION):
                r.collections.create(f"{scen}/nope")
            with pytest.raises(ex.CollectionDoesNotExist):
                r.data_objects.get(f"{HOME}/x.dcm")
            with pytest.raises(ex.OBJ_PATH_DOES_NOT_EXIST):
                r.data_objects.open("/brno/home/steward/absent", "r")
        s.data_objects.trim(one, replNum="0", copies="1")
        assert [r.number for r in s.data_objects.get(one).replicas] == [1, 2]
        far = "/praha/home/rods#brno/scen"
        s.collections.create(far)
        s.data_objects.put(str(file), f"{far}/x.dcm", regChksum="")
        assert s.data_objects.get(f"{far}/x.dcm").checksum == checksum(content(5000))
        s.collections.remove(far, force=True)
        assert not s.collections.exists(far)
        s.collections.remove(scen, force=True)
