"""Put and get as iCommands do them: small objects in one message, large ones in blocks."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from irods_zone import ZoneServer
from irods_zone.api_numbers import Api
from irods_zone.consistency_check import check
from irods_zone.error_codes import ErrorCode
from irods_zone.xml_structures import pack, parse
from support.seeded import seeded_bytes
from support.zone_client import WireClient, pairs

NEAR, FAR = "/brno/home/rods", "/praha/home/rods#brno"
SIZE = 33 << 20


@pytest.fixture
def client(tmp_path: Path) -> Iterator[WireClient]:
    with ZoneServer("praha", tmp_path / "p", federate={"brno": ("127.0.0.1", 1, "K")}) as praha:
        admin = WireClient(praha.port, zone="praha")
        user = {"arg0": "add", "arg1": "user", "arg2": "rods#brno", "arg3": "rodsuser"}
        assert admin.ask(Api.GENERAL_ADMIN_AN, pack("generalAdminInp_PI", **user)).int_info == 0
        admin.close()
        partner = {"praha": ("127.0.0.1", praha.port, "K")}
        with ZoneServer("brno", tmp_path / "b", federate=partner) as brno:
            found = WireClient(brno.port)
            yield found
            found.close()
    for zone in ("b", "p"):
        assert list(check(tmp_path / zone)) == []


def request(path: str, size: int, **keywords: str) -> str:
    return (
        f"<DataObjInp_PI><objPath>{path}</objPath><createMode>420</createMode><openFlags>0"
        f"</openFlags><offset>0</offset><dataSize>{size}</dataSize><numThreads>0</numThreads>"
        f"<oprType>1</oprType>{pairs(**keywords)}</DataObjInp_PI>"
    )


def status(client: WireClient, number: int) -> int:
    return client.ask(Api.OPR_COMPLETE_AN, pack("INT_PI", myInt=number)).int_info


@pytest.mark.parametrize("home", [NEAR, FAR])
def test_large_put_and_get(client: WireClient, home: str) -> None:
    data, path = seeded_bytes(SIZE), f"{home}/large"
    checksum = "sha2:" + base64.b64encode(hashlib.sha256(data).digest()).decode()
    offered = client.ask(Api.DATA_OBJ_PUT_AN, request(path, SIZE, verifyChksum=checksum))
    number = parse(offered.body).number("l1descInx")
    assert offered.int_info == number >= 3 and parse(offered.body).number("numThreads") == 0
    for at in range(0, SIZE, 4 << 20):
        block = data[at : at + (4 << 20)]
        assert client.descriptor(Api.DATA_OBJ_WRITE_AN, number, len(block), block).int_info == len(
            block
        )
    assert status(client, number) == 0
    offered = client.ask(Api.DATA_OBJ_GET_AN, request(path, 0, verifyChksum=""))
    out = parse(offered.body)
    assert out.get("chksum") == checksum and not offered.byte_stream
    number, got = out.number("l1descInx"), bytearray()
    while (block := client.descriptor(Api.DATA_OBJ_READ_AN, number, 4 << 20)).int_info > 0:
        got += block.byte_stream
    assert status(client, number) == 0 and got == data
    assert status(client, number) == ErrorCode.SYS_BAD_FILE_DESCRIPTOR, "it is closed"


def test_wrong_checksum_and_failed_transfer(client: WireClient) -> None:
    wrong = client.ask(
        Api.DATA_OBJ_PUT_AN, request(f"{NEAR}/wrong", SIZE, verifyChksum="sha2:no")
    ).int_info
    client.descriptor(Api.DATA_OBJ_WRITE_AN, wrong, 1, b"x")
    assert status(client, wrong) == ErrorCode.USER_CHKSUM_MISMATCH
    failed = client.ask(Api.DATA_OBJ_PUT_AN, request(f"{NEAR}/failed", SIZE)).int_info
    client.descriptor(Api.DATA_OBJ_WRITE_AN, failed, 1, b"x")
    assert status(client, -1) == 0
    assert (
        client.descriptor(Api.DATA_OBJ_WRITE_AN, failed, 1, b"x").int_info
        == ErrorCode.SYS_BAD_FILE_DESCRIPTOR
    )
    assert client.open(f"{NEAR}/failed", os.O_RDWR) >= 3, "it is free again"
