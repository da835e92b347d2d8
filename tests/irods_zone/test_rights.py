"""Access control and metadata: inheritance, recursion, atomic operations."""

from __future__ import annotations

import irods.exception as ex
import irods.keywords as kw
import pytest
from irods.access import iRODSAccess
from irods.message import JSON_Message, MetadataRequest, iRODSMessage
from irods.meta import AVUOperation, iRODSMeta
from irods.models import Collection, DataObject, DataObjectMeta
from irods.session import iRODSSession

from irods_zone.api_numbers import Api
from support.waiting import wait_until

HOME = "/brno/home/rods"


def rights(session: iRODSSession, path: str) -> dict[str, str]:
    found = session.collections.get(path) if session.collections.exists(path) else None
    target = found or session.data_objects.get(path)
    return {a.user_name: a.access_name for a in session.acls.get(target)}


@pytest.fixture
def objects(rods: iRODSSession, bob: iRODSSession) -> iRODSSession:
    rods.collections.create(f"{HOME}/c/d")
    for path in ("c/x", "c/d/y"):
        rods.data_objects.touch(f"{HOME}/{path}")
    return rods


def test_recursive(objects: iRODSSession, bob: iRODSSession) -> None:
    objects.acls.set(iRODSAccess("write", f"{HOME}/c", "bob", "brno"), recursive=True)
    for path in ("c", "c/x", "c/d", "c/d/y"):
        assert rights(objects, f"{HOME}/{path}")["bob"] == "modify_object"
    objects.acls.set(iRODSAccess("null", f"{HOME}/c/d", "bob", "brno"), recursive=True)
    assert [r[DataObject.name] for r in bob.query(DataObject.name)] == ["x"]


def test_inheritance(objects: iRODSSession) -> None:
    objects.acls.set(iRODSAccess("read", f"{HOME}/c", "bob", "brno"))
    objects.acls.set(iRODSAccess("inherit", f"{HOME}/c"), recursive=True)
    objects.collections.create(f"{HOME}/c/new")
    objects.data_objects.touch(f"{HOME}/c/new/z")
    assert rights(objects, f"{HOME}/c/new/z") == {"rods": "own", "bob": "read_object"}
    assert "bob" not in rights(objects, f"{HOME}/c/x")
    objects.acls.set(iRODSAccess("noinherit", f"{HOME}/c"))
    objects.data_objects.touch(f"{HOME}/c/later")
    assert "bob" not in rights(objects, f"{HOME}/c/later")


def test_administrators_change_rights_on_what_is_not_theirs(
    rods: iRODSSession, bob: iRODSSession
) -> None:
    path = "/brno/home/bob/x"
    bob.data_objects.touch(path)
    with pytest.raises(ex.CAT_NO_ACCESS_PERMISSION):
        rods.acls.set(iRODSAccess("read", path, "rods", "brno"))
    rods.acls.set(iRODSAccess("read", path, "rods", "brno"), admin=True)
    assert rights(rods, path) == {"bob": "own", "rods": "read_object"}
    with pytest.raises(ex.CAT_INSUFFICIENT_PRIVILEGE_LEVEL):
        bob.acls.set(iRODSAccess("own", f"{HOME}", "bob", "brno"), admin=True)


def atomic(session: iRODSSession, path: str, *operations: dict[str, str]) -> None:
    text = {"logical_path": path, "operations": list(operations)}
    with session.pool.get_connection() as connection:
        message = JSON_Message(text, connection.server_version)
        connection.send(
            iRODSMessage("RODS_API_REQ", msg=message, int_info=Api.ATOMIC_APPLY_ACL_OPERATIONS_APN)
        )
        connection.recv()


def test_several_rights_at_once_or_none(objects: iRODSSession) -> None:
    give = {"entity_name": "bob", "acl": "write"}
    with pytest.raises(ex.iRODSException):
        atomic(objects, f"{HOME}/c/x", give, {"entity_name": "nobody", "acl": "read"})
    assert rights(objects, f"{HOME}/c/x") == {"rods": "own"}
    atomic(objects, f"{HOME}/c/x", give, {"entity_name": "public", "acl": "read"})
    assert rights(objects, f"{HOME}/c/x") == {
        "rods": "own", "bob": "modify_object", "public": "read_object",
    }  # fmt: skip


def test_atomic_metadata_says_what_is_wrong(objects: iRODSSession, bob: iRODSSession) -> None:
    obj = objects.data_objects.get(f"{HOME}/c/x")
    obj.metadata.apply_atomic_operations(
        AVUOperation(operation="add", avu=iRODSMeta("a", "1")),
        AVUOperation(operation="remove", avu=iRODSMeta("never", "there")),
    )
    assert [m.name for m in obj.metadata.items()] == ["a"]
    obj.unlink(force=True)
    with pytest.raises(ex.SYS_INVALID_INPUT_PARAM) as error:
        obj.metadata.apply_atomic_operations(AVUOperation(operation="add", avu=iRODSMeta("a", "1")))
    said = error.value.server_msg.get_json_encoded_struct()["error_message"]
    assert said == f"Entity does not exist [entity_name={HOME}/c/x]"


def test_setting_metadata_keeps_when_it_was_made(objects: iRODSSession) -> None:
    path = f"{HOME}/c/x"
    metadata = objects.data_objects.get(path).metadata
    metadata.set("a", "1")
    made = times(objects)[0]

    def is_modified_later() -> bool:  # iRODS counts whole seconds
        metadata.set("a", "2", "u")
        return bool(times(objects)[1] != made)

    wait_until(is_modified_later, every=0.2)
    created, modified = times(objects)
    assert created == made < modified
    assert [(m.value, m.units) for m in metadata.items()] == [("2", "u")]


def times(session: iRODSSession) -> tuple[object, object]:
    columns = DataObjectMeta.create_time, DataObjectMeta.modify_time
    row = session.query(*columns).filter(DataObjectMeta.name == "a").one()
    return row[columns[0]], row[columns[1]]


def add(session: iRODSSession, operation: str, *args: str, **options: str) -> None:
    """One metadata operation on a data object, as `imeta` sends it."""
    with session.pool.get_connection() as connection:
        body = MetadataRequest(operation, "-d", *args, **options)
        connection.send(iRODSMessage("RODS_API_REQ", msg=body, int_info=Api.MOD_AVU_METADATA_AN))
        connection.recv()


def test_metadata_modified_removed_and_copied(objects: iRODSSession) -> None:
    path, other = f"{HOME}/c/x", f"{HOME}/c/d"
    add(objects, "add", path, "a", "1", "u")
    add(objects, "mod", path, "a", "1", "u", "v:2", "u:w")
    metadata = objects.data_objects.get(path).metadata
    assert [(m.name, m.value, m.units) for m in metadata.items()] == [("a", "2", "w")]
    with pytest.raises(ex.CAT_SUCCESS_BUT_WITH_NO_INFO):
        add(objects, "mod", path, "a", "1", "u", "v:3")
    objects.metadata.copy(DataObject, Collection, path, other)
    assert [m.value for m in objects.collections.get(other).metadata.items()] == ["2"]
    add(objects, "addw", f"{HOME}/c/%", "batch", "7")
    assert len(list(objects.query(DataObject.name).filter(DataObjectMeta.name == "batch"))) == 2
    add(objects, "add", path, "abc", "1")
    add(objects, "rmw", path, "a%", "%")
    assert [m.name for m in objects.data_objects.get(path).metadata.items()] == ["batch"]


def test_administrators_act_regardless_of_rights(rods: iRODSSession, bob: iRODSSession) -> None:
    path = "/brno/home/bob/x"
    bob.data_objects.touch(path)
    add(bob, "add", path, "a", "1")
    with pytest.raises(ex.CAT_NO_ACCESS_PERMISSION):
        add(rods, "add", path, "b", "2")
    add(rods, "add", path, "b", "2", irodsAdmin="")
    with pytest.raises(ex.CAT_INSUFFICIENT_PRIVILEGE_LEVEL):
        add(bob, "add", path, "c", "3", irodsAdmin="")
    rods.resources.create("other", "unixfilesystem", "localhost", "/nowhere/other")
    rods.data_objects.replicate(path, resource="other", irodsAdmin="")
    with pytest.raises(ex.CAT_NO_ACCESS_PERMISSION):
        rods.data_objects.trim(path, replNum="0")
    rods.data_objects.trim(path, replNum="0", irodsAdmin="")
    assert [r.resource_name for r in rods.data_objects.get(path).replicas] == ["other"]


def test_trash_is_emptied(rods: iRODSSession, bob: iRODSSession) -> None:
    bob.collections.create("/brno/home/bob/c")
    bob.data_objects.touch("/brno/home/bob/c/x")
    bob.collections.remove("/brno/home/bob/c", recurse=True)
    trash = "/brno/trash/home/bob"
    assert bob.data_objects.exists(f"{trash}/c/x")
    with pytest.raises(ex.CAT_NO_ACCESS_PERMISSION):
        rods.collections.remove(f"{trash}/c", recurse=True)
    rods.collections.remove(trash, recurse=True, irodsAdminRmTrash="")
    assert bob.collections.exists(trash) and not bob.collections.exists(f"{trash}/c")


def test_administrators_empty_the_trash_of_others(rods: iRODSSession, bob: iRODSSession) -> None:
    mine, admin = f"{HOME}/x", {kw.ADMIN_RMTRASH_KW: ""}
    bob.data_objects.touch("/brno/home/bob/x")
    rods.data_objects.touch(mine)
    bob.data_objects.unlink("/brno/home/bob/x")
    thrown = "/brno/trash/home/bob/x"
    with pytest.raises(ex.CAT_NO_ACCESS_PERMISSION):
        rods.data_objects.unlink(thrown, force=True)
    with pytest.raises(ex.CAT_INSUFFICIENT_PRIVILEGE_LEVEL):
        bob.data_objects.unlink(thrown, force=True, **admin)
    with pytest.raises(ex.SYS_INVALID_FILE_PATH):
        rods.data_objects.unlink(mine, force=True, **admin)
    rods.data_objects.unlink(thrown, force=True, **admin)
    assert not bob.data_objects.exists(thrown) and rods.data_objects.exists(mine)
    bob.collections.create("/brno/home/bob/c")
    bob.collections.remove("/brno/home/bob/c")
    rods.collections.remove("/brno/trash/home/bob/c", force=True, **admin)
    assert not bob.collections.exists("/brno/trash/home/bob/c")
