"""Replicas: which one is written, which become stale, which one is read."""

from __future__ import annotations

import hashlib
from pathlib import Path

import irods.exception as ex
import irods.keywords as kw
import pytest
from irods.manager.data_object_manager import Server_Checksum_Warning
from irods.message import FileOpenRequest, RErrorStack, StringStringMap, iRODSMessage
from irods.session import iRODSSession

from irods_zone.api_numbers import Api
from irods_zone.error_codes import ErrorCode

PATH = "/brno/home/rods/x"


@pytest.fixture
def tree(rods: iRODSSession) -> iRODSSession:
    """Resources one and two, and a replicating tree over random and plain storage."""
    create = rods.resources.create
    for name in ("one", "two", "r1", "r2", "plain"):
        create(name, "unixfilesystem", "localhost", f"/nowhere/{name}")
    create("tree", "replication")
    create("either", "random")
    for parent, child in (
        ("either", "r1"), ("either", "r2"), ("tree", "either"), ("tree", "plain"),
    ):  # fmt: skip
        rods.resources.add_child(parent, child)
    return rods


def write(session: iRODSSession, data: bytes, mode: str = "w", **options: str) -> None:
    with session.data_objects.open(PATH, mode, **options) as f:
        f.write(data)


def read(session: iRODSSession, **options: str) -> bytes:
    with session.data_objects.open(PATH, "r", **options) as f:
        return bytes(f.read())


def replicas(session: iRODSSession) -> dict[str, str]:
    return {r.resc_hier: r.status for r in session.data_objects.get(PATH).replicas}


def test_writing_elsewhere_makes_a_replica_and_the_others_stale(tree: iRODSSession) -> None:
    write(tree, b"first", **{kw.DEST_RESC_NAME_KW: "one"})
    write(tree, b"second", **{kw.DEST_RESC_NAME_KW: "two"})
    assert replicas(tree) == {"one": "0", "two": "1"}
    assert read(tree, **{kw.RESC_NAME_KW: "one"}) == b"second"  # a good one is preferred
    assert read(tree, **{kw.REPL_NUM_KW: "0"}) == b"first"
    assert read(tree, **{kw.RESC_HIER_STR_KW: "one"}) == b"first"
    with pytest.raises(ex.SYS_REPLICA_DOES_NOT_EXIST):
        write(tree, b"third", "r+", **{kw.DEST_RESC_NAME_KW: "demoResc"})


def test_a_tree_within_a_tree_replicates_once_per_branch(tree: iRODSSession) -> None:
    write(tree, b"data", **{kw.DEST_RESC_NAME_KW: "tree"})
    first = replicas(tree)
    assert len(first) == 2 and first["tree;plain"] == "1" and set(first.values()) == {"1"}
    for _ in range(4):
        write(tree, b"again", **{kw.DEST_RESC_NAME_KW: "tree"})
        assert replicas(tree) == first  # the random branch keeps to where it has its replica
    with pytest.raises(ex.DIRECT_CHILD_ACCESS):
        read(tree, **{kw.RESC_NAME_KW: "plain"})


def test_compound_writes_its_cache_and_keeps_an_archive(rods: iRODSSession) -> None:
    rods.resources.create("comp", "compound")
    for name, role in (("arc", "archive"), ("cac", "cache")):
        rods.resources.create(name, "unixfilesystem", "localhost", f"/nowhere/{name}")
        rods.resources.add_child("comp", name, role)
    write(rods, b"data", **{kw.DEST_RESC_NAME_KW: "comp"})
    numbers = {r.number: r.resc_hier for r in rods.data_objects.get(PATH).replicas}
    assert numbers == {0: "comp;cac", 1: "comp;arc"}


def test_truncation(tree: iRODSSession) -> None:
    write(tree, b"12345678", **{kw.DEST_RESC_NAME_KW: "one"})
    tree.data_objects.replicate(PATH, resource="two")
    said = tree.data_objects.replica_truncate(PATH, 4, **{kw.RESC_NAME_KW: "two"})
    assert (said["resource_hierarchy"], said["replica_number"]) == ("two", 1)
    assert replicas(tree) == {"one": "0", "two": "1"}
    assert read(tree) == b"1234"
    with pytest.raises(ex.SYS_REPLICA_INACCESSIBLE) as error:
        tree.data_objects.replica_truncate(PATH, 4, **{kw.RESC_NAME_KW: "demoResc"})
    assert error.value.server_msg.get_json_encoded_struct()["message"]


def test_unregistering_keeps_the_file(tree: iRODSSession) -> None:
    write(tree, b"data", **{kw.DEST_RESC_NAME_KW: "one"})
    tree.data_objects.replicate(PATH, resource="two")
    files = [r.path for r in tree.data_objects.get(PATH).replicas]
    tree.data_objects.unregister(PATH, **{kw.REPL_NUM_KW: "1", kw.COPIES_KW: 1})
    assert replicas(tree) == {"one": "1"}
    assert [Path(f).read_bytes() for f in files] == [b"data", b"data"]


def test_moving_a_replica(tree: iRODSSession) -> None:
    write(tree, b"data", **{kw.DEST_RESC_NAME_KW: "one", kw.REG_CHKSUM_KW: ""})
    old = tree.data_objects.get(PATH).replicas[0]
    request(tree, Api.DATA_OBJ_PHYMV_AN, PATH, rescName="one", destRescName="two")
    assert replicas(tree) == {"two": "1"}
    new = tree.data_objects.get(PATH).replicas[0]
    assert (new.checksum, read(tree)) == (old.checksum, b"data")
    assert not Path(old.path).exists()


def request(session: iRODSSession, number: int, path: str, **options: str) -> None:
    body = FileOpenRequest(
        objPath=path, createMode=0, openFlags=0, offset=0, dataSize=0, numThreads=0, oprType=0,
        KeyValPair_PI=StringStringMap(options),
    )  # fmt: skip
    with session.pool.get_connection() as connection:
        connection.send(iRODSMessage("RODS_API_REQ", msg=body, int_info=number))
        connection.recv()


def test_creating_again_empties(tree: iRODSSession) -> None:
    write(tree, b"data")
    tree.data_objects.create(PATH)
    assert read(tree) == b""


def test_verification_says_which_replica(tree: iRODSSession) -> None:
    write(tree, b"data", **{kw.DEST_RESC_NAME_KW: "one", kw.REG_CHKSUM_KW: ""})
    tree.data_objects.replicate(PATH, resource="two")
    Path(tree.data_objects.get(PATH).replicas[1].path).write_bytes(b"dat")
    stack = RErrorStack()
    with pytest.raises(Server_Checksum_Warning):
        tree.data_objects.chksum(PATH, r_error=stack, **{kw.VERIFY_CHKSUM_KW: ""})
    assert [e.status_ for e in stack] == [ErrorCode.USER_FILE_SIZE_MISMATCH]
    assert "replica [1]" in stack[0].raw_msg_


def test_checksums_keep_the_clients_scheme(tree: iRODSSession) -> None:
    md5 = hashlib.md5(b"data").hexdigest()
    write(tree, b"data", **{kw.VERIFY_CHKSUM_KW: md5, kw.DEST_RESC_NAME_KW: "one"})
    assert tree.data_objects.get(PATH).checksum == md5
    tree.data_objects.replicate(PATH, resource="two")
    assert {r.checksum for r in tree.data_objects.get(PATH).replicas} == {md5}
    tree.data_objects.chksum(PATH, **{kw.VERIFY_CHKSUM_KW: ""})
    with pytest.raises(ex.USER_CHKSUM_MISMATCH):
        write(tree, b"other", **{kw.VERIFY_CHKSUM_KW: md5, kw.DEST_RESC_NAME_KW: "one"})
    write(tree, b"other", **{kw.REG_CHKSUM_KW: "", kw.DEST_RESC_NAME_KW: "one"})
    assert str(tree.data_objects.get(PATH).replicas[0].checksum).startswith("sha2:")


def test_a_resource_that_is_down(tree: iRODSSession) -> None:
    write(tree, b"data", **{kw.DEST_RESC_NAME_KW: "one"})
    tree.data_objects.replicate(PATH, resource="two")
    tree.resources.modify("one", "status", "down")
    assert read(tree, **{kw.RESC_NAME_KW: "one"}) == b"data"  # from the other one
    with pytest.raises(ex.SYS_RESC_IS_DOWN):
        write(tree, b"new", **{kw.DEST_RESC_NAME_KW: "one"})
    tree.resources.modify("two", "status", "down")
    with pytest.raises(ex.SYS_RESC_IS_DOWN):
        read(tree)
    tree.resources.modify("one", "status", "up")
    assert read(tree) == b"data"
