"""Bulk put, as `iput -b` sends it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from irods.session import iRODSSession

from irods_zone import ZoneServer
from irods_zone.api_numbers import Api
from irods_zone.error_codes import ErrorCode
from support.zone_client import WireClient, pairs

HOME = "/brno/home/rods"


@pytest.fixture
def zone(tmp_path: Path) -> Iterator[ZoneServer]:
    with ZoneServer("brno", tmp_path / "z") as server:
        yield server


def bulk(files: dict[str, bytes], ends: list[int] | None = None, **keywords: str) -> str:
    total, found = 0, []
    for data in files.values():
        total += len(data)
        found.append(total)
    columns = {403: list(files), 421: ["33188"] * len(files), 999998: ends or found}
    sums = ["sha2:" + base64.b64encode(hashlib.sha256(d).digest()).decode() for d in files.values()]
    columns[415] = sums
    array = "".join(
        f"<SqlResult_PI><attriInx>{inx}</attriInx><reslen>1024</reslen>"
        + "".join(f"<value>{v}</value>" for v in values) + "</SqlResult_PI>"
        for inx, values in columns.items()
    )  # fmt: skip
    return (
        f"<BulkOprInp_PI><objPath>{HOME}/bulk</objPath><GenQueryOut_PI><rowCnt>{len(files)}"
        f"</rowCnt><attriCnt>4</attriCnt><continueInx>0</continueInx><totalRowCount>0"
        f"</totalRowCount>{array}</GenQueryOut_PI>{pairs(**keywords)}</BulkOprInp_PI>"
    )


FILES = {f"{HOME}/bulk/{n % 3}/{n}": bytes([n]) * (n * 100) for n in range(20)}
BYTES = b"".join(FILES.values())


def test_bulk_put(zone: ZoneServer) -> None:
    api = Api.BULK_DATA_OBJ_PUT_AN
    client = WireClient(zone.port)
    request = bulk(FILES, dataType="generic", verifyChksum="")
    assert client.ask(api, request, BYTES).int_info == 0
    with iRODSSession(host="127.0.0.1", port=zone.port, user="rods", password="rods",
                      zone="brno") as s:  # fmt: skip
        for path, data in FILES.items():
            obj = s.data_objects.get(path)
            assert obj.size == len(data) and obj.checksum == s.data_objects.chksum(path)
            with s.data_objects.open(path, "r") as f:
                assert f.read() == data
    assert client.ask(api, request, BYTES).int_info == ErrorCode.OVERWRITE_WITHOUT_FORCE_FLAG, (
        "no overwrite unless forced"
    )
    assert client.ask(api, bulk(FILES, forceFlag=""), BYTES).int_info == 0
    client.close()


def test_bad_bulk_is_refused(zone: ZoneServer) -> None:
    api = Api.BULK_DATA_OBJ_PUT_AN
    client = WireClient(zone.port)
    wrong = bytearray(BYTES)
    wrong[-1] ^= 1
    assert (
        client.ask(api, bulk(FILES, verifyChksum=""), bytes(wrong)).int_info
        == ErrorCode.USER_CHKSUM_MISMATCH
    )
    assert (
        client.ask(api, bulk(FILES, forceFlag=""), BYTES[:-1]).int_info
        == ErrorCode.SYS_COPY_LEN_ERR
    )
    assert (
        client.ask(api, bulk(FILES, ends=[5] * 19 + [4]), BYTES).int_info
        == ErrorCode.SYS_COPY_LEN_ERR
    )
    many = {f"{HOME}/bulk/{n}": b"" for n in range(51)}
    assert client.ask(api, bulk(many)).int_info == ErrorCode.SYS_REQUESTED_BUF_TOO_LARGE
    outside = {f"{HOME}/bulk/../../../../etc/x": b"1"}
    assert client.ask(api, bulk(outside), b"1").int_info < 0
    client.close()
