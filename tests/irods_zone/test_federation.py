"""Federation: clients use another zone through their own, with their access there."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import irods.exception as ex
import pytest
from irods.access import iRODSAccess
from irods.message import _do_GeneralAdminRequest as general_admin
from irods.models import Collection, DataObject
from irods.session import iRODSSession
from irods.ticket import Ticket

from irods_zone import ZoneServer
from irods_zone.consistency_check import check
from irods_zone.error_codes import ErrorCode
from support.certificates import Certificates, make_certificates
from support.seeded import seeded_bytes
from support.zone_client import WireClient

NEAR, FAR = "/brno/home/rods", "/praha/home/rods#brno"


@pytest.fixture
def zones(tmp_path: Path) -> Iterator[tuple[ZoneServer, ZoneServer]]:
    """Zones brno and praha, federated with each other."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    partner = {"brno": ("127.0.0.1", port, "KEY")}
    with ZoneServer("praha", tmp_path / "praha", federate=partner) as praha:
        federate = {"praha": ("127.0.0.1", praha.port, "KEY")}
        with ZoneServer("brno", tmp_path / "brno", port, federate=federate) as brno:
            for server, guest in ((praha, "rods#brno"), (brno, "rods#praha")):
                with connect(server) as s:
                    general_admin(s, "add", "user", guest, "rodsuser")
            yield brno, praha


def connect(server: ZoneServer) -> iRODSSession:
    return iRODSSession(
        host="127.0.0.1", port=server.port, user="rods", password="rods", zone=server.zone
    )


def write(s: iRODSSession, path: str, data: bytes) -> None:
    with s.data_objects.open(path, "w", regChksum="") as f:
        f.write(data)


def read(s: iRODSSession, path: str) -> bytes:
    with s.data_objects.open(path, "r") as f:
        return bytes(f.read())


def test_everything_in_the_other_zone(zones: tuple[ZoneServer, ZoneServer]) -> None:
    brno, _ = zones
    data = seeded_bytes(300_000)
    with connect(brno) as s:
        s.collections.create(f"{FAR}/a/b")
        write(s, f"{FAR}/a/o", data)
        assert read(s, f"{FAR}/a/o") == data
        with s.data_objects.open(f"{FAR}/a/o", "r+") as f:
            f.seek(-3, 2)
            f.write(b"end")
            f.seek(0)
            assert f.read() == data[:-3] + b"end"
        obj = s.data_objects.get(f"{FAR}/a/o")
        assert (obj.owner_name, obj.owner_zone) == ("rods", "brno")
        assert s.data_objects.chksum(obj.path, forceChksum="").startswith("sha2:")
        obj.metadata.add("k", "v", "u")
        assert [(m.name, m.value) for m in s.data_objects.get(obj.path).metadata.items()] == [
            ("k", "v")
        ]
        s.data_objects.move(obj.path, f"{FAR}/a/b/p")
        found = s.query(Collection.name, DataObject.name).filter(Collection.name == f"{FAR}/a/b")
        assert [r[DataObject.name] for r in found] == ["p"]
        assert [c.name for c in s.collections.get(f"{FAR}/a").subcollections] == ["b"]
        s.data_objects.copy(f"{FAR}/a/b/p", f"{FAR}/a/q")
        s.acls.set(iRODSAccess("read", f"{FAR}/a/q", "rods", "praha"))
        s.data_objects.truncate(f"{FAR}/a/q", 5)
        assert read(s, f"{FAR}/a/q") == data[:5]
        s.collections.remove(f"{FAR}/a", force=True)
        assert not s.collections.exists(f"{FAR}/a")
        with pytest.raises(ex.CAT_NO_ACCESS_PERMISSION):
            s.collections.create("/praha/home/rods/no")
        with pytest.raises(ex.OBJ_PATH_DOES_NOT_EXIST):
            read(s, "/praha/home/rods/nothing")


def test_many_removals_and_two_open_objects(zones: tuple[ZoneServer, ZoneServer]) -> None:
    with connect(zones[0]) as s:
        s.collections.create(f"{FAR}/many")
        for n in range(25):
            write(s, f"{FAR}/many/{n}", b"x")
        s.collections.remove(f"{FAR}/many", force=True)
        with (
            s.data_objects.open(f"{FAR}/one", "w") as one,
            s.data_objects.open(f"{NEAR}/two", "w") as two,
            s.data_objects.open(f"{FAR}/three", "w") as three,
        ):
            for f, text in ((one, b"1"), (two, b"2"), (three, b"3")):
                f.write(text)
        found = [read(s, p) for p in (f"{FAR}/one", f"{NEAR}/two", f"{FAR}/three")]
        assert found == [b"1", b"2", b"3"]


def test_copies_across_zones(zones: tuple[ZoneServer, ZoneServer]) -> None:
    brno, _ = zones
    data = seeded_bytes(9_000_000)
    with connect(brno) as s:
        write(s, f"{NEAR}/o", data)
        s.data_objects.copy(f"{NEAR}/o", f"{FAR}/o")
        assert read(s, f"{FAR}/o") == data
        assert s.data_objects.get(f"{FAR}/o").checksum == s.data_objects.get(f"{NEAR}/o").checksum
        s.data_objects.copy(f"{FAR}/o", f"{NEAR}/back")
        assert read(s, f"{NEAR}/back") == data
        with pytest.raises(ex.OVERWRITE_WITHOUT_FORCE_FLAG):
            s.data_objects.copy(f"{FAR}/o", f"{NEAR}/back")
        with pytest.raises(ex.CAT_NO_ACCESS_PERMISSION):
            s.data_objects.copy(f"{NEAR}/o", "/praha/home/rods/no")
        with pytest.raises(ex.SYS_CROSS_ZONE_MV_NOT_SUPPORTED):
            s.data_objects.move(f"{NEAR}/o", f"{FAR}/moved")
        Path(s.data_objects.get(f"{NEAR}/o").replicas[0].path).write_bytes(b"bad")
        with pytest.raises(ex.USER_CHKSUM_MISMATCH):
            s.data_objects.copy(f"{NEAR}/o", f"{FAR}/bad")
        assert not s.data_objects.exists(f"{FAR}/bad"), "a copy that went wrong does not stay"


def test_large_put_in_parallel(zones: tuple[ZoneServer, ZoneServer], tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(seeded_bytes(40 << 20))
    with connect(zones[0]) as s:
        s.data_objects.put(str(file), f"{FAR}/large", regChksum="")
        assert s.data_objects.get(f"{FAR}/large").size == 40 << 20
        s.data_objects.chksum(f"{FAR}/large", verifyChksum="")


def test_ticket_of_the_other_zone(zones: tuple[ZoneServer, ZoneServer]) -> None:
    brno, praha = zones
    with connect(praha) as s:
        write(s, "/praha/home/rods/lent", b"abc")
        ticket = Ticket(s)
        ticket.issue("read", "/praha/home/rods/lent")
    with connect(brno) as s:
        with pytest.raises(ex.OBJ_PATH_DOES_NOT_EXIST):
            read(s, "/praha/home/rods/lent")
        Ticket(s, ticket.string).supply()
        assert read(s, "/praha/home/rods/lent") == b"abc"
        with pytest.raises(ex.CAT_NO_ACCESS_PERMISSION):
            write(s, "/praha/home/rods/lent", b"no")


def test_partner_goes_and_comes_back(zones: tuple[ZoneServer, ZoneServer]) -> None:
    brno, praha = zones
    with connect(brno) as s:
        write(s, f"{FAR}/o", b"abc")
        praha.stop()
        with pytest.raises(ex.CROSS_ZONE_SOCK_CONNECT_ERR):
            s.data_objects.get(f"{FAR}/o")
        assert s.collections.exists(NEAR), "home goes on"
        with ZoneServer("praha", praha.directory, praha.port, federate=praha.federate):
            assert read(s, f"{FAR}/o") == b"abc"


def test_partner_that_never_answers(tmp_path: Path) -> None:
    """One accepts connections and never answers, one closes them within an answer."""
    silent = socket.create_server(("127.0.0.1", 0))
    rude = socket.create_server(("127.0.0.1", 0))

    def be_rude() -> None:
        while True:
            try:
                sock, _ = rude.accept()
            except OSError:
                return
            sock.sendall(b"\0\0\0\x99<MsgHeader_PI>")
            sock.close()

    thread = threading.Thread(target=be_rude)
    thread.start()
    federate = {"silent": ("127.0.0.1", silent.getsockname()[1], "K"),
                "rude": ("127.0.0.1", rude.getsockname()[1], "K")}  # fmt: skip
    with ZoneServer("brno", tmp_path / "b", federate=federate) as brno:
        client = WireClient(brno.port)
        start = time.monotonic()
        assert client.open("/rude/home/x", 0) == ErrorCode.CROSS_ZONE_SOCK_CONNECT_ERR
        assert client.open("/silent/home/x", 0) == ErrorCode.CROSS_ZONE_SOCK_CONNECT_ERR
        assert time.monotonic() - start < 30, "an error, not a hang"
        client.close()
    rude.shutdown(socket.SHUT_RDWR)
    for server in (silent, rude):
        server.close()
    thread.join(5)


def test_wrong_key(zones: tuple[ZoneServer, ZoneServer], tmp_path: Path) -> None:
    _, praha = zones
    federate = {"praha": ("127.0.0.1", praha.port, "NOT THE KEY")}
    with ZoneServer("brno", tmp_path / "other", federate=federate) as impostor:
        client = WireClient(impostor.port)
        assert client.open(f"{FAR}/o", 577) == ErrorCode.CAT_INVALID_AUTHENTICATION
        client.close()
    assert list(check(praha.directory)) == []


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def behind_tls(tmp_path: Path, certificates: Certificates) -> Iterator[ZoneServer]:
    """Zone praha, which refuses who does not use TLS, and where rods of brno is a user."""
    tls = certificates.server, certificates.server_key
    partner = {"brno": ("localhost", 1, "KEY")}
    with ZoneServer("praha", tmp_path / "p", federate=partner, tls=tls, tls_required=True) as praha:
        with iRODSSession(
            **praha.session_arguments() | {"host": "localhost"},
            client_server_negotiation="request_server_negotiation",
            client_server_policy="CS_NEG_REQUIRE",
            encryption_algorithm="AES-256-CBC",
            encryption_key_size=32,
            encryption_num_hash_rounds=16,
            encryption_salt_size=8,
            ssl_ca_certificate_file=str(certificates.authority),
        ) as s:
            general_admin(s, "add", "user", "rods#brno", "rodsuser")
        yield praha


@pytest.mark.parametrize(
    ("host", "authority", "answered"),
    [
        ("localhost", "authority", True),
        ("127.0.0.1", "authority", False),  # the certificate is for another host
        ("localhost", "client", False),  # not who signed it
        ("localhost", "", False),  # no TLS
    ],
)
def test_the_other_zone_is_asked_over_tls(
    behind_tls: ZoneServer,
    certificates: Certificates,
    tmp_path: Path,
    host: str,
    authority: str,
    answered: bool,
) -> None:
    federate = {"praha": (host, behind_tls.port, "KEY")}
    trusted = getattr(certificates, authority) if authority else None
    with (
        ZoneServer("brno", tmp_path / "b", federate=federate, federate_ca=trusted) as brno,
        connect(brno) as s,
    ):
        if answered:
            write(s, f"{FAR}/o", b"seen in both")
            assert read(s, f"{FAR}/o") == b"seen in both"
        else:
            with pytest.raises(ex.CROSS_ZONE_SOCK_CONNECT_ERR):
                write(s, f"{FAR}/o", b"seen in none")


def test_a_zone_without_tls_is_not_asked(
    zones: tuple[ZoneServer, ZoneServer], certificates: Certificates, tmp_path: Path
) -> None:
    """Who wants TLS does not fall back: nothing of the user's goes out unencrypted."""
    _, praha = zones
    federate = {"praha": ("localhost", praha.port, "KEY")}
    with (
        ZoneServer(
            "brno", tmp_path / "b", federate=federate, federate_ca=certificates.authority
        ) as brno,
        connect(brno) as s,
        pytest.raises(ex.CROSS_ZONE_SOCK_CONNECT_ERR),
    ):
        write(s, f"{FAR}/o", b"seen in none")
