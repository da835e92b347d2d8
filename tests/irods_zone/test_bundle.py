"""Tar files unpacked by the server, and checksums read from storage."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from irods.exception import (
    SYS_COPY_ALREADY_IN_RESC,
    SYS_NO_API_PRIV,
    iRODSException,
)
from irods.models import Collection, DataObject

from irods_zone import ZoneServer
from pacsgrid.config import ZoneSettings
from pacsgrid.errors import ZoneError
from pacsgrid.grid import Zone
from pacsgrid.grid.irods_requests import put_buffer, stored_checksum, unpack
from pacsgrid.grid.zone import bytes_checksum, translated_errors

HOME = "/brno/home/rods"


@pytest.fixture
def zone(tmp_path: Path) -> Iterator[Zone]:
    with (
        ZoneServer(
            zone="brno", directory=tmp_path / "zone", port=0, admin="rods", password="x"
        ) as server,
        Zone(
            ZoneSettings(name="brno", host="127.0.0.1", port=server.port, user="rods", password="x")
        ) as zone,
    ):
        yield zone


def put_tar(zone: Zone, members: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> str:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(data), kind, "/etc/passwd"
            tar.addfile(info, io.BytesIO(data))
    path = f"{HOME}/some.tar"
    put_buffer(zone, path, buffer.getvalue(), bytes_checksum(buffer.getvalue()))
    return path


def stored(zone: Zone) -> dict[str, bytes]:
    found = {}
    for collection, _, objects in zone.session.collections.get(HOME).walk():
        for one in objects:
            with zone.session.data_objects.open(f"{collection.path}/{one.name}", "r") as stream:
                found[f"{collection.path}/{one.name}".removeprefix(HOME + "/")] = stream.read()
    found.pop("some.tar", None)
    return found


def test_files_become_objects_without_checksums(zone: Zone) -> None:
    members = {"a": b"one", "deep/er/b": b"two" * 1000, "empty": b""}
    unpack(zone, put_tar(zone, members), f"{HOME}/new")
    assert stored(zone) == {f"new/{name}": data for name, data in members.items()}
    columns = (DataObject.name, DataObject.checksum)
    rows = zone.rows(columns, Collection.name == f"{HOME}/new")
    assert {row[DataObject.name]: row[DataObject.checksum] for row in rows} == {
        "a": None,
        "empty": None,
    }
    assert zone.session.data_objects.chksum(f"{HOME}/new/a") == bytes_checksum(b"one")


def test_what_stands_is_kept_and_the_rest_comes_in(zone: Zone) -> None:
    put_buffer(zone, f"{HOME}/a", b"mine", bytes_checksum(b"mine"))
    with pytest.raises(SYS_COPY_ALREADY_IN_RESC):
        unpack(zone, put_tar(zone, {"a": b"theirs", "b": b"new"}), HOME)
    assert stored(zone) == {"a": b"mine", "b": b"new"}


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/brno/home/public/out"])
def test_no_member_leads_out_of_the_collection(zone: Zone, name: str) -> None:
    tar = put_tar(zone, {name: b"x"})
    with suppress(iRODSException):
        unpack(zone, tar, f"{HOME}/new")
    everywhere = [row[Collection.name] for row in zone.rows((Collection.name, DataObject.name))]
    assert all(path.startswith(HOME) for path in everywhere)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(zone: Zone, kind: bytes) -> None:
    tar = put_tar(zone, {"link": b""}, kind)
    with pytest.raises(ZoneError, match="-359000"), translated_errors("brno"):
        unpack(zone, tar, f"{HOME}/new")
    assert stored(zone) == {}


def test_what_is_no_tar_is_refused(zone: Zone) -> None:
    put_buffer(zone, f"{HOME}/some.tar", b"no tar" * 200, bytes_checksum(b"no tar" * 200))
    with pytest.raises(iRODSException):
        unpack(zone, f"{HOME}/some.tar", f"{HOME}/new")


def test_storage_is_read_for_administrators_inside_the_vault_alone(zone: Zone) -> None:
    put_buffer(zone, f"{HOME}/a", b"one", bytes_checksum(b"one"))
    (row,) = zone.rows((DataObject.path, DataObject.resc_hier), DataObject.name == "a")
    where, file = row[DataObject.resc_hier], row[DataObject.path]
    assert stored_checksum(zone, f"{HOME}/a", where, file, 3) == bytes_checksum(b"one")
    Path(file).write_bytes(b"two")
    assert stored_checksum(zone, f"{HOME}/a", where, file, 3) == bytes_checksum(b"two")
    for outside in ("/etc/passwd", f"{Path(file).parent}/../../../catalog.sqlite"):
        with pytest.raises(SYS_NO_API_PRIV):
            stored_checksum(zone, f"{HOME}/a", where, outside, 3)
    with pytest.raises(iRODSException):
        stored_checksum(zone, f"{HOME}/a", where, file, 4)
    user = zone.session.users.create("jana", "rodsuser")
    user.modify("password", "secret-word")
    settings = ZoneSettings(
        name="brno", host="127.0.0.1", port=zone.settings.port, user="jana", password="secret-word"
    )
    with Zone(settings) as other, pytest.raises(SYS_NO_API_PRIV):
        stored_checksum(other, f"{HOME}/a", where, file, 3)
