"""Malformed requests are answered with an error; links in the vault are not followed."""

from __future__ import annotations

import base64
import contextlib
import logging
import os
import random
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from irods_zone import ZoneServer
from irods_zone.api_numbers import Api
from irods_zone.api_registry import HANDLERS
from irods_zone.consistency_check import check
from irods_zone.error_codes import ErrorCode
from irods_zone.errors import DisconnectedError, IrodsError
from irods_zone.framing import Message, receive, send
from irods_zone.native_packing import from_xml, to_xml
from irods_zone.pack_instructions import REQUESTS
from irods_zone.xml_structures import pack
from support.zone_client import WireClient, pairs
from support.zone_replay import body_of, load

HOME = "/brno/home/rods"
ROUNDS = 1500


@pytest.fixture
def zone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[ZoneServer]:
    """A zone that must log no error, and at the end be consistent and answer."""
    with ZoneServer("brno", tmp_path / "z") as server:
        yield server
        client = WireClient(server.port)
        assert client.login.int_info == 0, "it still serves"
        client.close()
    logged = caplog.get_records("call")
    assert [(r.getMessage(), r.exc_text) for r in logged if r.levelno >= logging.ERROR] == []
    assert list(check(tmp_path / "z")) == []


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Cut, double, flip or replace some of the bytes."""
    buf = bytearray(data or b"<x></x>")
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(buf) + 1)
        kind = rng.randrange(6)
        if kind == 0 and at < len(buf):
            buf[at] = rng.randrange(256)
        elif kind == 1:
            del buf[at : at + rng.randrange(40)]
        elif kind == 2:
            buf[at:at] = buf[at : at + rng.randrange(200)]
        elif kind == 3:
            evil = (b"-1", b"99999999999999999999", b"\0", b"<", b"&#0;", b"&bogus;", b"\xff\xfe",
                    b"'", b"../" * 9, b"%", b"1e9", b"[" * 500)  # fmt: skip
            buf[at:at] = rng.choice(evil)
        elif kind == 4:
            buf = bytearray(
                buf.replace(*rng.choice([(b"0", b"-7"), (b"1", b"x"), (b"/", b""), (b">", b"")]))
            )
        else:
            buf = buf[:at]
    return bytes(buf)


def recorded() -> list[tuple[int, bytes]]:
    """Return the requests of the recorded conversations in XML."""
    found = []
    for name in ("prc", "icommands"):
        for message in load(name):
            number = message["int_info"]
            if message["from"] != "client" or message["type"] != "RODS_API_REQ":
                continue
            body = body_of(message)
            if name == "icommands" and body and number in REQUESTS:
                body = to_xml(REQUESTS[number], body)
            found.append((number, body))
    return found


@pytest.mark.parametrize("native", [False, True])
def test_mutated_requests(zone: ZoneServer, native: bool) -> None:
    """Any bytes as a request are answered with a status other than an internal error."""
    rng = random.Random(20240101)
    requests = [
        r
        for r in recorded()
        if r[0] not in (Api.AUTHENTICATION_APN, Api.AUTH_REQUEST_AN, Api.AUTH_RESPONSE_AN)
    ]
    client = WireClient(zone.port)
    if native:
        next(iter(zone._connections.values()))[0].session.native = True
    for _ in range(ROUNDS):
        number, body = rng.choice(requests)
        if native and number in REQUESTS:
            body = from_xml(body)
        if rng.random() < 0.1:
            number = rng.choice(list(HANDLERS))
        reply = client.ask(number, mutated(rng, body), rng.randbytes(rng.randrange(50)))
        while reply.int_info == 99999996:
            client.sock.sendall(struct.pack(">i", 99999997))
            reply = receive(client.sock)
        assert reply.type == "RODS_API_REPLY"
    client.close()


def test_random_json(zone: ZoneServer) -> None:
    """APIs that take JSON accept any type anywhere."""
    client = WireClient(zone.port)
    values = ("null", "true", "-1", "1e400", '""', '"x"', "[]", "{}", '[{"operation": 3}]',
              '[{"attribute": null}]', "[[[]]]", '"../../x"', f'"{HOME}"')  # fmt: skip
    keys = ("fd", "entity_name", "entity_type", "operations", "logical_path", "options",
            "admin_mode", "next_operation", "digest", "acl_operations", "metadata")  # fmt: skip
    rng = random.Random(7)
    for _ in range(ROUNDS):
        text = "{" + ",".join(f'"{k}":{rng.choice(values)}' for k in rng.sample(keys, 4)) + "}"
        text = rng.choice((text, text[:-1], rng.choice(values)))
        body = (
            f"<BinBytesBuf_PI><buflen>{len(text)}</buflen>"
            f"<buf>{base64.b64encode(text.encode()).decode()}</buf></BinBytesBuf_PI>"
        )
        number = rng.choice(
            (
                Api.GET_FILE_DESCRIPTOR_INFO_APN,
                Api.ATOMIC_APPLY_METADATA_OPERATIONS_APN,
                Api.REPLICA_OPEN_APN,
                Api.REPLICA_CLOSE_APN,
                Api.ATOMIC_APPLY_ACL_OPERATIONS_APN,
                Api.TOUCH_APN,
                20008,
            )
        )
        assert client.ask(number, body).type == "RODS_API_REPLY"
    client.close()


def test_broken_frames(zone: ZoneServer) -> None:
    """A connection that does not speak the protocol is closed; the others go on."""
    rng = random.Random(3)
    head = b"<MsgHeader_PI><type>RODS_CONNECT</type><msgLen>%s</msgLen><errorLen>0</errorLen>" \
           b"<bsLen>0</bsLen><intInfo>0</intInfo></MsgHeader_PI>"  # fmt: skip
    frames = [b"GET / HTTP/1.0\r\n\r\n", b"\0\0\0\0", b"\xff" * 8, b"\x7f\xff\xff\xff", b"\0\0",
              *(struct.pack(">i", len(head % n)) + head % n
                for n in (b"-1", b"999999999999", b"5", b"abc"))]  # fmt: skip
    frames += [rng.randbytes(rng.randrange(200)) for _ in range(50)]
    for frame in frames:
        with socket.create_connection(("127.0.0.1", zone.port), timeout=10) as sock:
            sock.sendall(frame)
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(4096):
                    pass


def test_odd_startup_packs(zone: ZoneServer) -> None:
    for body in (b"", b"<x/>", b"<StartupPack_PI></StartupPack_PI>", b"\xff\xfe", b"<a><b></a>"):
        with socket.create_connection(("127.0.0.1", zone.port), timeout=10) as sock:
            send(sock, Message("RODS_CONNECT", 0, body))
            sock.shutdown(socket.SHUT_WR)
            try:
                while True:
                    receive(sock)
            except (DisconnectedError, OSError):
                pass


def test_native_decoder_refuses_what_does_not_fit() -> None:
    rng = random.Random(11)
    for name in set(REQUESTS.values()):
        for _ in range(200):
            try:
                to_xml(name, rng.randbytes(rng.randrange(300)))
            except IrodsError as e:
                assert e.code == ErrorCode.SYS_PACK_INSTRUCT_FORMAT_ERR


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file outside of the zone that no client may read or change."""
    file = tmp_path / "secret"
    file.write_bytes(b"secret")
    return file


def test_links_in_the_vault_are_not_followed(tmp_path: Path, secret: Path) -> None:
    """Neither a replica's own file nor the folder it lies in may be a link."""
    with ZoneServer("brno", tmp_path / "z") as zone:
        client = WireClient(zone.port)
        other = {"arg0": "add", "arg1": "resource", "arg2": "other", "arg3": "unixfilesystem"}
        client.ask(
            Api.GENERAL_ADMIN_AN, pack("generalAdminInp_PI", **other, arg4="localhost:/other")
        )
        for name, resource in (("file", "demoResc"), ("folder", "other")):
            flags = os.O_RDWR | os.O_CREAT
            fd = client.open(f"{HOME}/{name}", flags, destRescName=resource)
            client.descriptor(Api.DATA_OBJ_WRITE_AN, fd, 6, b"public")
            client.descriptor(Api.DATA_OBJ_CLOSE_AN, fd)
        paths = dict(zone.state.catalog.rows("SELECT name, path FROM data"))
        file, folder = Path(paths["file"]), Path(paths["folder"])
        file.unlink()
        file.symlink_to(secret)
        outside = tmp_path / "outside"
        folder.parent.rename(outside)
        (outside / folder.name).write_bytes(b"secret")
        folder.parent.symlink_to(outside)
        for path in (f"{HOME}/file", f"{HOME}/folder"):
            for flags in (os.O_RDONLY, os.O_RDWR, os.O_RDWR | os.O_TRUNC):
                assert client.open(path, flags) < 0, path
            about = (
                f"<DataObjInp_PI><objPath>{path}</objPath>{pairs(forceChksum='')}</DataObjInp_PI>"
            )
            for api in (Api.DATA_OBJ_GET_AN, Api.DATA_OBJ_CHKSUM_AN):
                answer = client.ask(api, about)
                assert answer.int_info < 0 and b"secret" not in bytes(answer.byte_stream)
        client.close()
    assert secret.read_bytes() == b"secret"
    assert (outside / folder.name).read_bytes() == b"secret"
    assert {p.kind for p in check(tmp_path / "z")} == {"no regular file", "behind a link"}


def test_paths_that_climb(zone: ZoneServer, secret: Path) -> None:
    client = WireClient(zone.port)
    for path in (f"{HOME}/../../../..{secret}", f"{HOME}/..", f"{HOME}/a\0b", str(secret), "", "x",
                 f"{HOME}/" + "a" * 300, "/" + "a/" * 600):  # fmt: skip
        assert client.open(path, os.O_RDWR | os.O_CREAT) < 0, path
    assert client.open(f"{HOME}/...", os.O_RDWR | os.O_CREAT) >= 3, "an ordinary name"
    client.descriptor(Api.DATA_OBJ_CLOSE_AN, 3)
    options = pairs(filePath="/etc/passwd", forceFlag="")
    put = (
        f"<DataObjInp_PI><objPath>{HOME}/o</objPath><dataSize>1</dataSize>{options}</DataObjInp_PI>"
    )
    client.ask(Api.DATA_OBJ_PUT_AN, put.replace("<ssLen>2", "<ssLen>3"), b"x")
    assert Path("/etc/passwd").stat().st_size > 1
    client.close()
