"""What a real server said to real clients, message by message, against the embedded zone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from irods.message import _do_GeneralAdminRequest as general_admin
from irods.session import iRODSSession

from embedded.zone.replay import Replay, content, load
from pacsgrid.embedded.zone import ZoneServer

HOME = "/brno/home/rods"
PASSWORDS = {"rods": "rods", "researcher": "r-secret"}


def connect(port: int, user: str = "rods", zone: str = "brno") -> iRODSSession:
    return iRODSSession(
        host="127.0.0.1", port=port, user=user, password=PASSWORDS[user], zone=zone
    )  # fmt: skip


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[ZoneServer]:
    """The two zones as they stood when the conversations were recorded."""
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
                s.resources.create("bundleResc", "unixfilesystem", "localhost", "/bundle")
                for name in ("steward", "nonadmin", "researcher"):
                    s.users.create(name, "rodsuser")
                s.users.modify("researcher", "password", PASSWORDS["researcher"])
                for name in ("researcher", "rods"):
                    general_admin(s, "add", "user", f"{name}#praha", "rodsuser")
            yield brno


def awaited(difference: str) -> bool:
    """Tickets, specific queries and GenQuery2 are not served yet."""
    return "answered RODS_API_REPLY -12000," in difference or "-812000, not" in difference


def put(s: iRODSSession, path: str, data: bytes, **options: str) -> None:
    with s.data_objects.open(path, "w", **options) as f:
        f.write(data)


def test_python_client(grid: ZoneServer) -> None:
    with connect(grid.port) as s:
        s.resources.create("simple_resc_BB337AF30BEE6C16", "unixfilesystem", "localhost", "/simple")
        s.collections.create(f"{HOME}/scen/a/b")
        for name in ("one", "two", "a/three", "a/b/four"):
            put(s, f"{HOME}/scen/{name}", b"abc")
    replay = Replay(grid.port, PASSWORDS, skip_rows=("comp_resc",))
    differences = [d for d in replay.run(load("prc")) if not awaited(d)]
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
            replay = Replay(grid.port, PASSWORDS, skip_rows=("comp_resc",))
            differences = [d for d in replay.run(load("icommands")) if not awaited(d)]
            assert not differences, "\n".join(differences)
            assert replay.compared == 503
            half.close()
