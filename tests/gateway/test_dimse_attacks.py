"""Attacks on the gateway's DICOM node: silent and slow peers, and oversized queries."""

from __future__ import annotations

import os
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from fuzzed.cases import STUDY_FIND
from pacsgrid.embedded.ports import accepts, reserve_port
from pacsgrid.embedded.process import ChildProcess
from pacsgrid.gateway import Gateway
from pacsgrid.gateway.dimse.service import Node
from pacsgrid.grid.sharing import share
from support.certificates import make_certificates
from support.dicom import ct
from support.dicom_attacks import (
    IMPLICIT,
    answer,
    associate,
    closed,
    command,
    dripping,
    echo,
    encoded,
    exactly,
    highest_memory,
    pdu,
    silent,
)
from support.served_zones import PROJECT, ServedZones
from support.waiting import wait_until

EVA = "eva#brno"
PEERS = [{"ae_title": "EVA", "address": "127.0.0.0/8", "user": EVA}]
MOST_MEMORY = 600 << 20


@pytest.fixture(scope="module")
def zones(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedZones]:
    with ServedZones(tmp_path_factory.mktemp("attacked")) as made:
        made.add([ct(made.dir / "a.dcm", "1.2.1", "1.2.1.1.1")])
        share(made.home, PROJECT, [EVA])
        yield made


@contextmanager
def node(zones: ServedZones, **more: object) -> Iterator[int]:
    settings = {"bind": "127.0.0.1", "dicom_port": 0, "peers": PEERS, **more}
    with Gateway(zones.site(**settings)) as gateway, Node(gateway) as running:
        yield running.port


@pytest.mark.parametrize("secure", [False, True])
def test_silent_connections_lock_nobody_out(
    zones: ServedZones, secure: bool, tmp_path: Path
) -> None:
    """Attack from several addresses, and from the honest peer's own."""
    files, tls = {}, None
    if secure:
        made = make_certificates(tmp_path / "tls")
        files = {
            "cert_file": str(made.server),
            "key_file": str(made.server_key),
            "ca_file": str(made.authority),
        }
        tls = ssl.create_default_context(cafile=made.authority)
        tls.load_cert_chain(made.client, made.client_key)
    half = b"\x16\x03\x01\x02" if secure else b"\1\0\0"
    limits = {"max_associations": 6, "max_per_peer": 3, "associate_seconds": 600.0}
    before = threading.active_count()
    with node(zones, **limits, **files) as port, ExitStack() as held:
        for number in range(2, 6):
            held.enter_context(silent(port, f"127.0.0.{number}", 10, half))
        assert echo(port, "127.0.0.9", "EVA", tls) == 0
        held.enter_context(silent(port, "127.0.0.10", 4, half))

        def served() -> bool:  # who opens many at once is let wait a second
            try:
                return echo(port, "127.0.0.10", "EVA", tls) == 0
            except OSError:
                return False

        wait_until(served, every=0.2)
        wait_until(lambda: threading.active_count() <= before + 2 * 6 + 3)


def test_one_deadline_for_tls_and_request(zones: ServedZones, tmp_path: Path) -> None:
    made = make_certificates(tmp_path / "tls")
    files = {"cert_file": str(made.server), "key_file": str(made.server_key)}
    for start, more in ((b"\1\0\0\0\1\0", {}), (b"\x16\x03\x01\x02\0\1\0\1\xfc", files)):
        with (
            node(zones, associate_seconds=1.0, **more) as port,
            dripping(port, "127.0.0.2", start + bytes(500), 0.1) as one,
            silent(port, "127.0.0.3", 2) as others,
        ):
            for each in (one, *others):
                closed(each)


def test_strangers_are_no_work(zones: ServedZones) -> None:
    """Peers with an unknown address or AE title cannot occupy connections."""
    peers = [{**PEERS[0], "address": "127.0.0.8/31"}]
    asks = associate([(1, STUDY_FIND, [IMPLICIT])], calling="STRANGER")
    limits = {"max_associations": 1, "max_per_peer": 1, "associate_seconds": 600.0}
    with (
        node(zones, peers=peers, **limits) as port,
        silent(port, "127.0.0.2", 40) as held,
        silent(port, "127.0.0.8", 1, asks) as asking,
    ):
        assert all(closed(one) == b"" for one in held)
        assert exactly(asking[0], 1) == b"\3"
        assert echo(port, "127.0.0.9", "EVA") == 0


def test_who_takes_no_answers_is_not_waited_for(zones: ServedZones) -> None:
    """Send one byte now and then within a query, then nothing."""
    with node(zones, idle_seconds=1.0) as port:
        with associated(port) as one:
            stop = threading.Event()

            def drip() -> None:
                with suppress(OSError):
                    while not stop.wait(0.1):
                        one.sendall(pdata(1, b"ab"))

            thread = threading.Thread(target=drip)
            thread.start()
            try:
                assert closed(one)[:1] == b"\7"
            finally:
                stop.set()
                thread.join()
        with associated(port) as one:
            one.sendall(pdata(3, asks()))
            assert closed(one)[:1] == b"\7"


# -- bombs ------------------------------------------------------------------------------------


@contextmanager
def associated(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), 60) as one:
        one.sendall(associate([(1, STUDY_FIND, [IMPLICIT])], calling="EVA"))
        kind, length = struct.unpack(">BxI", exactly(one, 6))
        exactly(one, length)
        assert kind == 2
        yield one


def pdata(control: int, data: bytes) -> bytes:
    return pdu(4, struct.pack(">IBB", len(data) + 2, 1, control) + data)


def asks() -> bytes:
    return command(_0002=STUDY_FIND, _0100=0x20, _0110=1, _0700=0, _0800=1)


def query(data: bytes) -> bytes:
    parts = [data[at : at + 60_000] for at in range(0, len(data), 60_000)]
    last = len(parts) - 1
    return pdata(3, asks()) + b"".join(pdata(2 * (n == last), p) for n, p in enumerate(parts))


def identifier(uids: str) -> bytes:
    data = Dataset()
    data.QueryRetrieveLevel = "STUDY"
    head = encoded(data, IMPLICIT)
    value = uids.encode() + b"\0" * (len(uids) % 2)
    return head + struct.pack("<HHI", 0x0020, 0x000D, len(value)) + value


def nested(depth: int) -> bytes:
    data = Dataset()
    data.QueryRetrieveLevel = "STUDY"
    item = struct.pack("<HHI", 8, 0x1140, 0xFFFFFFFF)
    item += struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    return encoded(data, IMPLICIT) + item * depth


def crowded(count: int) -> bytes:
    data = Dataset()
    data.QueryRetrieveLevel = "STUDY"
    inner = b"".join(struct.pack("<HHI", 0x0011, n, 0) for n in range(0x1000, 0x1000 + count))
    return encoded(data, IMPLICIT) + inner


def test_no_query_takes_much_memory(zones: ServedZones) -> None:
    """Measure the peak memory of a gateway process."""
    port, http = reserve_port(), reserve_port()
    zones.site(bind="127.0.0.1", dicom_port=port, http_port=http, peers=PEERS)
    env = {**os.environ, "PACSGRID_SITE": str(zones.dir / "site.yaml")}
    env["PYTHONPATH"] = os.pathsep.join(sys.path)
    log = zones.dir / "gateway.log"
    child = ChildProcess("gateway", [sys.executable, "-m", "pacsgrid", "gateway"], log, env)
    child.start()
    try:
        child.wait_ready(lambda: accepts(port), 120)
        with associated(port) as one:
            for data, status in (
                (identifier("\\".join(f"1.9.{n}" for n in range(9_900))), 0),
                (identifier("1\\" * 400_000 + "1"), 0xA700),
                (identifier("1," * 400_000 + "1"), 0xA700),
                (crowded(50_000), 0xA700),
                (nested(50_000), 0xA900),
            ):
                one.sendall(query(data))
                assert answer(one) == status
        bombs = [
            query(identifier("1\\" * 2_000_000 + "1")),
            pdata(3, asks()) + pdu(4, struct.pack(">IBB", 2, 1, 0) * 20_000) * 20,
            struct.pack(">BxI", 4, 0xFFFFFFFF) + bytes(1 << 16),
            b"".join(pdata(1, b"ab") for _ in range(40_000)),
        ]
        for data in bombs:
            with associated(port) as one:
                with suppress(OSError):
                    one.sendall(data)
                    one.shutdown(socket.SHUT_WR)
                assert closed(one)[:1] in (b"\7", b"")
        roles = [str(n) for n in range(5_000)]
        for data in (
            struct.pack(">BxI", 1, 0xFFFFFFFF) + bytes(1 << 16),
            associate([(n, STUDY_FIND, [""] * 8_000) for n in range(1, 60, 2)], calling="EVA"),
            associate([(1, STUDY_FIND, [IMPLICIT])], roles, "EVA"),
        ):
            with socket.create_connection(("127.0.0.1", port), 60) as one:
                with suppress(OSError):
                    one.sendall(data)
                assert closed(one)[:1] == b"\7"
        most = highest_memory(child.pid)
        assert most < MOST_MEMORY, f"{most >> 20} MiB"
        assert echo(port, "127.0.0.9", "EVA") == 0
    finally:
        child.stop(30)
