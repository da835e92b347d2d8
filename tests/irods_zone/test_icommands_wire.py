"""Requests of iCommands that python-irodsclient does not send, message by message."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import irods.exception as ex
import pytest
from irods.session import iRODSSession

from irods_zone import ZoneServer
from irods_zone.api_numbers import Api
from irods_zone.consistency_check import check
from irods_zone.error_codes import ErrorCode
from irods_zone.native_packing import from_xml, to_xml
from irods_zone.password_obfuscation import _PADDING, _WHEEL, _key_bytes
from irods_zone.xml_structures import pack, parse
from support.zone_client import WireClient, login, pairs

HOME = "/brno/home/rods"
PATH = f"{HOME}/x"


@pytest.fixture
def client(zone: ZoneServer, rods: iRODSSession) -> Iterator[WireClient]:
    rods.resources.create("other", "unixfilesystem", "localhost", "/nowhere/other")
    found = WireClient(zone.port)
    yield found
    found.close()
    assert list(check(zone.directory)) == []


def put(client: WireClient, data: bytes, path: str = PATH, **keywords: str) -> int:
    return client.ask(
        Api.DATA_OBJ_PUT_AN,
        f"<DataObjInp_PI><objPath>{path}</objPath><createMode>384</createMode><openFlags>0"
        f"</openFlags><offset>0</offset><dataSize>{len(data)}</dataSize><numThreads>0</numThreads>"
        f"<oprType>1</oprType>{pairs(dataIncluded='', **keywords)}</DataObjInp_PI>",
        data,
    ).int_info


def about(path: str = PATH, **keywords: str) -> str:
    return f"<DataObjInp_PI><objPath>{path}</objPath>{pairs(**keywords)}</DataObjInp_PI>"


def read(rods: iRODSSession, path: str = PATH) -> bytes:
    with rods.data_objects.open(path, "r") as f:
        return bytes(f.read())


def test_what_is_appended_goes_to_the_end(client: WireClient, rods: iRODSSession) -> None:
    """Append as ``istream write -a`` does: it seeks to the start before it writes."""
    put(client, b"first ")
    number = client.open(PATH, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    assert client.descriptor(Api.DATA_OBJ_LSEEK_AN, number).int_info == 0
    for part in (b"second ", b"third"):
        assert client.descriptor(Api.DATA_OBJ_WRITE_AN, number, len(part), part).int_info == len(
            part
        )
    assert client.descriptor(Api.DATA_OBJ_CLOSE_AN, number).int_info == 0
    assert read(rods) == b"first second third"


def test_a_put_brings_metadata_and_rights(
    client: WireClient, rods: iRODSSession, alice: iRODSSession
) -> None:
    included = {"metadataIncluded": r"a;b;;c\;d;e;f", "aclIncluded": "read alice;write public"}
    assert put(client, b"data", **included) == 0
    found = rods.data_objects.get(PATH).metadata.items()
    assert {(m.name, m.value, m.units or "") for m in found} == {("a", "b", ""), ("c;d", "e", "f")}
    rights = {a.user_name: a.access_name for a in rods.acls.get(rods.data_objects.get(PATH))}
    assert rights == {"rods": "own", "alice": "read_object", "public": "modify_object"}
    assert read(alice) == b"data"
    for bad in ({"metadataIncluded": "a"}, {"aclIncluded": "alice"}, {"aclIncluded": "a b c"}):
        assert put(client, b"", f"{HOME}/bad", **bad) == ErrorCode.SYS_BAD_INPUT
    assert not rods.data_objects.exists(f"{HOME}/bad")


def test_an_open_brings_them_too_when_it_is_closed(
    client: WireClient, rods: iRODSSession, alice: iRODSSession
) -> None:
    flags = os.O_WRONLY | os.O_CREAT
    number = client.open(PATH, flags, metadataIncluded="a;b;c", aclIncluded="read alice")
    client.descriptor(Api.DATA_OBJ_WRITE_AN, number, 4, b"data")
    assert not rods.data_objects.get(PATH).metadata.items()
    assert client.descriptor(Api.DATA_OBJ_CLOSE_AN, number).int_info == 0
    assert rods.data_objects.get(PATH).metadata.get_one("a").units == "c"
    assert read(alice) == b"data"
    assert client.open(f"{HOME}/bad", flags, metadataIncluded="a") == ErrorCode.SYS_BAD_INPUT
    assert not rods.data_objects.exists(f"{HOME}/bad")


def test_force_overwrites_where_the_object_is_and_nowhere_else(
    client: WireClient, rods: iRODSSession
) -> None:
    put(client, b"old")
    elsewhere = {"forceFlag": "", "destRescName": "other"}
    assert put(client, b"new", **elsewhere) == ErrorCode.HIERARCHY_ERROR
    copy = f"<DataObjCopyInp_PI>{about()}{about(f'{HOME}/y', **elsewhere)}</DataObjCopyInp_PI>"
    put(client, b"y", f"{HOME}/y")
    assert client.ask(Api.DATA_OBJ_COPY_AN, copy).int_info == ErrorCode.HIERARCHY_ERROR
    assert [(r.resource_name, r.status) for r in rods.data_objects.get(PATH).replicas] == [
        ("demoResc", "1")
    ]
    assert put(client, b"new", forceFlag="", destRescName="demoResc") == 0
    assert read(rods) == b"new" and read(rods, f"{HOME}/y") == b"y"


def test_a_get_names_a_resource_that_holds_the_object(client: WireClient) -> None:
    put(client, b"data")
    refused = client.ask(Api.DATA_OBJ_GET_AN, about(rescName="other"))
    assert refused.int_info == ErrorCode.SYS_REPLICA_INACCESSIBLE and b"requested" in refused.error
    found = client.ask(Api.DATA_OBJ_GET_AN, about(rescName="demoResc"))
    assert (found.int_info, found.byte_stream) == (4, b"data")
    assert client.ask(Api.DATA_OBJ_GET_AN, about(rescName="demoResc", replNum="0")).int_info == 4


def test_users_see_nothing_above_their_homes(
    client: WireClient, zone: ZoneServer, bob: iRODSSession
) -> None:
    user = WireClient(zone.port, "bob", "bob-secret")
    for path in ("/", "/brno", "/brno/home", "/brno/home/rods"):
        assert user.ask(Api.OBJ_STAT_AN, about(path)).int_info == ErrorCode.USER_FILE_DOES_NOT_EXIST
    assert user.ask(Api.OBJ_STAT_AN, about("/brno/home/bob")).int_info == 2
    assert client.ask(Api.OBJ_STAT_AN, about("/brno/home")).int_info == 2
    user.close()


def test_a_moved_replica_keeps_its_number(client: WireClient, rods: iRODSSession) -> None:
    put(client, b"data", regChksum="")
    unsaid = client.ask(Api.DATA_OBJ_PHYMV_AN, about(destRescName="other"))
    assert unsaid.int_info == ErrorCode.USER_NULL_INPUT_ERR and b"Source hierarchy" in unsaid.error
    assert (
        client.ask(Api.DATA_OBJ_PHYMV_AN, about(rescName="demoResc", destRescName="other")).int_info
        == 0
    )
    (replica,) = rods.data_objects.get(PATH).replicas
    assert (replica.number, replica.resource_name, replica.status) == (0, "other", "1")
    assert read(rods) == b"data"
    vault = Path(replica.path).parents[2]
    files = [p.relative_to(vault).parts[0] for p in vault.rglob("*") if p.is_file()]
    assert files == ["other"]


def sha2(data: bytes) -> str:
    return "sha2:" + base64.b64encode(hashlib.sha256(data).digest()).decode()


def test_an_object_without_a_checksum_is_synchronised(
    client: WireClient, rods: iRODSSession
) -> None:
    put(client, b"data")
    same, other = sha2(b"data"), sha2(b"other")
    for mode, action in (("LOCAL_TO_IRODS", 99999991), ("IRODS_TO_LOCAL", 99999990)):
        assert (
            client.ask(Api.DATA_OBJ_RSYNC_AN, about(rsyncMode=mode, rsyncChksum=same)).int_info == 0
        )
        assert (
            client.ask(Api.DATA_OBJ_RSYNC_AN, about(rsyncMode=mode, rsyncChksum=other)).int_info
            == action
        )
        missing = client.ask(
            Api.DATA_OBJ_RSYNC_AN, about(f"{HOME}/none", rsyncMode=mode, rsyncChksum=same)
        )
        assert missing.int_info == ErrorCode.OBJ_PATH_DOES_NOT_EXIST
        without = client.ask(Api.DATA_OBJ_RSYNC_AN, about(rsyncMode=mode)).int_info
        assert without == ErrorCode.CHKSUM_EMPTY_IN_STRUCT_ERR
    assert (
        client.ask(Api.DATA_OBJ_RSYNC_AN, about()).int_info
        == ErrorCode.USER_RSYNC_NO_MODE_INPUT_ERR
    )
    between = about(rsyncMode="IRODS_TO_IRODS", rsyncDestPath=f"{HOME}/y")
    assert client.ask(Api.DATA_OBJ_RSYNC_AN, between).int_info == 99999992
    assert client.ask(Api.DATA_OBJ_RSYNC_AN, between).int_info == 0
    put(client, b"changed", forceFlag="")
    assert client.ask(Api.DATA_OBJ_RSYNC_AN, between).int_info == 99999992
    assert read(rods, f"{HOME}/y") == b"changed"
    assert rods.data_objects.get(f"{HOME}/y").checksum == sha2(b"changed")


def test_a_stranger_learns_nothing_by_synchronising(
    client: WireClient, zone: ZoneServer, bob: iRODSSession
) -> None:
    put(client, b"data")
    stranger = WireClient(zone.port, "bob", "bob-secret")
    asked = about(rsyncMode="LOCAL_TO_IRODS", rsyncChksum=sha2(b"data"))
    assert stranger.ask(Api.DATA_OBJ_RSYNC_AN, asked).int_info < 0
    between = about(rsyncMode="IRODS_TO_IRODS", rsyncDestPath="/brno/home/bob/y")
    assert stranger.ask(Api.DATA_OBJ_RSYNC_AN, between).int_info < 0
    stranger.close()
    assert not bob.data_objects.exists("/brno/home/bob/y")


def test_a_tar_made_of_a_folder_is_unpacked(client: WireClient, rods: iRODSSession) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("./", "./a/"):
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE
            tar.addfile(info)
        info = tarfile.TarInfo("./a/y")
        info.size = 4
        tar.addfile(info, io.BytesIO(b"data"))
    put(client, buffer.getvalue(), f"{HOME}/t.tar")
    unpack = (
        f"<StructFileExtAndRegInp_PI><objPath>{HOME}/t.tar</objPath><collection>{HOME}/un"
        f"</collection>{pairs()}</StructFileExtAndRegInp_PI>"
    )
    assert client.ask(Api.STRUCT_FILE_EXT_AND_REG_AN, unpack).int_info == 0
    assert read(rods, f"{HOME}/un/a/y") == b"data"


def obfuscated(text: str, key: str) -> str:
    """Obfuscate a password as ipasswd and iadmin do: padded, with the old one as key."""
    ring = _key_bytes(key)
    padded = text + _PADDING[: 40 - len(text)]
    return "".join(
        _WHEEL[(_WHEEL.find(c) + ring[i % 61]) % len(_WHEEL)] if c in _WHEEL else c
        for i, c in enumerate(padded)
    )


def test_passwords_that_icommands_send(
    client: WireClient, zone: ZoneServer, alice: iRODSSession
) -> None:
    def admin(kind: int, name: str, *words: str) -> int:
        fields = {f"arg{i}": word for i, word in enumerate(words)}
        return client.ask(kind, pack(name, **fields)).int_info

    change = ("modify", "user", "alice", "password")
    assert (
        admin(Api.GENERAL_ADMIN_AN, "generalAdminInp_PI", *change, obfuscated("New-1!", "rods"))
        == 0
    )
    with login(zone, "alice", "New-1!") as session:
        assert session.collections.get("/brno/home/alice").path
    wrong = admin(Api.GENERAL_ADMIN_AN, "generalAdminInp_PI", *change, obfuscated("other", "guess"))
    assert wrong == ErrorCode.CAT_INVALID_AUTHENTICATION
    own = ("userpw", "rods", "password", obfuscated("fresh", "rods"))
    assert admin(Api.USER_ADMIN_AN, "userAdminInp_PI", *own) == 0
    with login(zone, "rods", "fresh") as session:
        assert session.collections.get(HOME).path
    with pytest.raises(ex.CAT_INVALID_AUTHENTICATION), login(zone, "rods", "rods") as session:
        session.collections.get(HOME)


def test_structures_that_native_clients_unpack(client: WireClient) -> None:
    """Clients crash if the end of the server's description is missing."""
    info = from_xml(client.ask(Api.GET_MISC_SVR_INFO_AN).body)
    assert b"brno\0" in info and info.endswith(b'{"ssl_enabled":false}\0')
    whole = "".join(f"<{name}></{name}>" for name in ("objPath", "rescName"))
    packed = from_xml(
        f"<ModDataObjMeta_PI><DataObjInfo_PI>{whole}{pairs()}</DataObjInfo_PI>"
        f"{pairs(dataComments='seen')}</ModDataObjMeta_PI>".encode()
    )
    node = parse(to_xml("ModDataObjMeta_PI", packed))
    assert node.keywords() == {"dataComments": "seen"}
    assert node.child("DataObjInfo_PI").get("replNum") == "0"
