"""Files registered in place, and changes to the catalog entries of replicas."""

from __future__ import annotations

from pathlib import Path

import irods.exception as ex
import pytest
from irods.models import Collection, DataObject
from irods.session import iRODSSession

from irods_zone import ZoneServer

HOME = "/brno/home/rods"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files, one of them in a sub-directory, and a link to elsewhere."""
    root = tmp_path / "outside"
    (root / "sub").mkdir(parents=True)
    (root / "a").write_bytes(b"abc")
    (root / "sub" / "b").write_bytes(b"defg")
    (root / "link").symlink_to("/etc/passwd")
    return root


def test_a_file(rods: iRODSSession, folder: Path) -> None:
    rods.data_objects.register(str(folder / "a"), f"{HOME}/x", regChksum="")
    obj = rods.data_objects.get(f"{HOME}/x")
    assert (obj.size, obj.replicas[0].path) == (3, str(folder / "a"))
    assert obj.checksum == rods.data_objects.chksum(obj.path, forceChksum="")
    with obj.open("r") as f:
        assert f.read() == b"abc"
    rods.data_objects.replicate(obj.path, destRescName=_other(rods))
    obj.unlink(force=True)
    assert (folder / "a").read_bytes() == b"abc"  # files registered in place are not deleted


def _other(rods: iRODSSession) -> str:
    rods.resources.create("other", "unixfilesystem", "localhost", "/nowhere/other")
    return "other"


def test_a_folder(rods: iRODSSession, folder: Path) -> None:
    rods.collections.register(str(folder), f"{HOME}/reg")
    found = rods.query(Collection.name, DataObject.name)
    rows = {f"{r[Collection.name]}/{r[DataObject.name]}" for r in found}
    assert rows == {f"{HOME}/reg/a", f"{HOME}/reg/sub/b"}
    rods.collections.get(f"{HOME}/reg").unregister()
    assert (folder / "sub" / "b").exists()


def test_not_everything_may_be_registered(
    zone: ZoneServer, rods: iRODSSession, alice: iRODSSession, folder: Path
) -> None:
    register = rods.data_objects.register
    with pytest.raises(ex.CAT_INSUFFICIENT_PRIVILEGE_LEVEL):
        alice.data_objects.register(str(folder / "a"), "/brno/home/alice/x")
    # CANT_REG_IN_VAULT_FILE, for which the client has no exception
    for path in (zone.directory / "catalog.sqlite", zone.directory, zone.directory.parent):
        with pytest.raises(KeyError, match="-128000"):
            register(str(path), f"{HOME}/x")
    (folder / "way").symlink_to(zone.directory / "catalog.sqlite")
    with pytest.raises(KeyError, match="-128000"):
        register(str(folder / "way"), f"{HOME}/x")
    with pytest.raises(ex.iRODSException):
        register(str(folder / "absent"), f"{HOME}/x")
    with pytest.raises(ex.iRODSException):
        register("/dev/zero", f"{HOME}/x")
    register(str(folder / "a"), f"{HOME}/x")
    with pytest.raises(ex.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME):
        register(str(folder / "a"), f"{HOME}/x")


def test_catalog_fields(alice: iRODSSession) -> None:
    path = "/brno/home/alice/x"
    alice.data_objects.touch(path)
    alice.data_objects.modDataObjMeta({"objPath": path}, {"dataComments": "seen"})
    assert alice.data_objects.get(path).replicas[0].comments == "seen"
    for name, value in (("replStatus", "0"), ("dataSize", "5")):
        with pytest.raises(ex.CAT_INSUFFICIENT_PRIVILEGE_LEVEL):
            alice.data_objects.modDataObjMeta({"objPath": path}, {name: value})
    with pytest.raises(ex.CAT_INVALID_ARGUMENT):
        alice.data_objects.modDataObjMeta({"objPath": path}, {"filePath": "/etc/passwd"})
