"""How connections start and end: TLS, heartbeat, proxy user, half-open and foreign clients."""

from __future__ import annotations

import datetime
import ipaddress
import socket
from collections.abc import Iterator
from pathlib import Path

import irods.exception as ex
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from irods.session import iRODSSession

from irods_zone import ZoneServer
from irods_zone.error_codes import ErrorCode
from irods_zone.errors import DisconnectedError
from irods_zone.framing import Message, receive, send
from support.waiting import wait_until
from support.zone_client import WireClient

HOME = "/brno/home/rods"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for this host, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    today = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    built = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ))  # fmt: skip
    return cert_file, key_file


@pytest.fixture
def zone(tmp_path: Path) -> Iterator[ZoneServer]:
    with ZoneServer("brno", tmp_path / "z") as server:
        yield server


def session(port: int, policy: str, **more: object) -> iRODSSession:
    return iRODSSession(
        host="127.0.0.1", port=port, user="rods", password="rods", zone="brno",
        client_server_negotiation="request_server_negotiation", client_server_policy=policy,
        encryption_algorithm="AES-256-CBC", encryption_key_size=32,
        encryption_num_hash_rounds=16, encryption_salt_size=8, **more,
    )  # fmt: skip


@pytest.mark.parametrize("required", [False, True])
def test_tls(tmp_path: Path, certificate: tuple[Path, Path], required: bool) -> None:
    """python-irodsclient with CS_NEG_REQUIRE reads and writes, the certificate verified."""
    with ZoneServer("brno", tmp_path / "z", tls=certificate, tls_required=required) as zone:
        trust = {"ssl_verify_server": "hostname", "ssl_ca_certificate_file": str(certificate[0])}
        data = bytes(range(256)) * 20_000
        with session(zone.port, "CS_NEG_REQUIRE", **trust) as s:
            assert s.pool.get_connection().socket.version() in ("TLSv1.2", "TLSv1.3")
            with s.data_objects.open(f"{HOME}/o", "w", regChksum="") as f:
                f.write(data)
            with s.data_objects.open(f"{HOME}/o", "r") as f:
                assert f.read() == data
        plain = session(zone.port, "CS_NEG_REFUSE")
        with plain as s:
            if required:
                with pytest.raises(ex.NetworkException):
                    s.collections.get(HOME)
            else:
                assert s.collections.get(HOME)
        if required:
            with pytest.raises((OSError, DisconnectedError)):
                WireClient(zone.port)


def test_tls_is_refused_without_a_certificate(zone: ZoneServer) -> None:
    with session(zone.port, "CS_NEG_REQUIRE") as s, pytest.raises(ex.NetworkException):
        s.collections.get(HOME)


def test_heartbeat(zone: ZoneServer) -> None:
    with socket.create_connection(("127.0.0.1", zone.port), timeout=5) as sock:
        send(sock, Message("HEARTBEAT"))
        with sock.makefile("rb") as stream:
            assert stream.read() == b"HEARTBEAT"


def test_proxy_user(zone: ZoneServer) -> None:
    """An administrator acts as another user, with that user's rights; nobody else may."""
    rods = {"host": "127.0.0.1", "port": zone.port, "zone": "brno", "password": "rods"}
    with iRODSSession(user="rods", **rods) as s:
        for name in ("alice", "bob"):
            s.users.create(name, "rodsuser")
        s.users.modify("bob", "password", "b-secret")
        s.data_objects.create(f"{HOME}/mine")
    alice = WireClient(zone.port, "alice", "rods", proxy="rods")
    assert alice.login.int_info == 0
    assert alice.open("/brno/home/alice/hers", 577) >= 3
    assert alice.open(f"{HOME}/mine", 2) < 0, "her rights, not the administrator's"
    alice.close()
    bob = WireClient(zone.port, "alice", "b-secret", proxy="bob")
    assert bob.login.int_info == ErrorCode.SYS_PROXYUSER_NO_PRIV
    assert bob.open("/brno/home/alice/his", 577) < 0
    bob.close()
    with iRODSSession(user="rods", **rods) as s:
        assert s.data_objects.get("/brno/home/alice/hers").owner_name == "alice"


def test_nothing_before_login(zone: ZoneServer) -> None:
    client = WireClient(zone.port, password="wrong")
    assert client.login.int_info == ErrorCode.CAT_INVALID_AUTHENTICATION
    assert client.open(f"{HOME}/o", 577) == ErrorCode.CAT_INSUFFICIENT_PRIVILEGE_LEVEL
    client.close()
    sock = socket.create_connection(("127.0.0.1", zone.port), timeout=5)
    with pytest.raises((OSError, DisconnectedError)):
        send(sock, Message("RODS_CONNECT", 0, b"x" * (2 << 20)))
        receive(sock)
    sock.close()


def test_sessions_end_with_their_clients(zone: ZoneServer) -> None:
    clients = [WireClient(zone.port) for _ in range(20)]
    assert len(zone._connections) == 20
    for client in clients:
        client.close()
    wait_until(lambda: not zone._connections, 10)
