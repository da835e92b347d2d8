"""Attacks on the storage SCP: silent and slow peers, bombs, and incomplete requests."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from support.certificates import make_certificates
from support.dicom_attacks import (
    CT,
    EXPLICIT,
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
from support.receiver_process import RunningReceiver
from support.waiting import wait_until

DEFLATED, JPEG = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.50"
SYNTAXES = {1: EXPLICIT, 3: IMPLICIT, 5: DEFLATED, 7: JPEG}
MOST_MEMORY = 600 << 20


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningReceiver]:
    with RunningReceiver(tmp_path_factory.mktemp("attacked"), idle_seconds=20.0) as running:
        yield running


@contextmanager
def associated(receiver: RunningReceiver) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", receiver.port), 60) as one:
        one.sendall(associate([(n, CT, [uid]) for n, uid in SYNTAXES.items()]))
        kind, length = struct.unpack(">BxI", exactly(one, 6))
        exactly(one, length)
        assert kind == 2
        yield one


def released(one: socket.socket) -> bool:
    one.sendall(pdu(5, bytes(4)))
    return exactly(one, 10)[0] == 6


def pdata(context: int, control: int, data: bytes) -> bytes:
    return pdu(4, struct.pack(">IBB", len(data) + 2, context, control) + data)


def request(sop: str, context: int = 1, sop_class: str = CT, has: int = 1) -> bytes:
    told = command(_0002=sop_class, _0100=1, _0110=1, _0700=0, _0800=has, _1000=sop)
    return pdata(context, 3, told)


def instance(sop: str, study: str = "1.2.77", series: str = "1.2.77.1") -> Dataset:
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = CT, sop
    data.StudyInstanceUID, data.SeriesInstanceUID = study, series
    data.PixelData = bytes(range(64))
    data["PixelData"].VR = "OW"
    return data


def deflated(plain: bytes) -> bytes:
    press = zlib.compressobj(9, wbits=-15)
    return press.compress(plain) + press.flush()


# -- requests that are not whole --------------------------------------------------------------

WHOLE = encoded(instance("1.2.77.1.1"), EXPLICIT)
UNSOUND = {
    "cut short": (1, WHOLE[:-10], 0xC000),
    "cut within an element header": (1, WHOLE[:13], 0xC000),
    "implicit where explicit was agreed": (1, encoded(instance("1.2.77.1.1"), IMPLICIT), 0xC000),
    "explicit where implicit was agreed": (3, WHOLE, 0xC000),
    "plain where deflated was agreed": (5, WHOLE, 0xC000),
    "deflated, cut short": (5, deflated(WHOLE)[:-5], 0xC000),
    "deflated where explicit was agreed": (1, deflated(WHOLE), 0xC000),
    "without fragments where JPEG was agreed": (7, WHOLE, 0xC000),
    "another instance": (1, encoded(instance("1.2.77.1.2"), EXPLICIT), 0xA900),
    "a study that is no UID": (
        1,
        encoded(instance("1.2.77.1.1", "1.2/../../x"), EXPLICIT),
        0xC000,
    ),
    "a series that is no UID": (1, encoded(instance("1.2.77.1.1", "1.2", "a b"), EXPLICIT), 0xC000),
    "without a series": (1, encoded(instance("1.2.77.1.1", "1.2", ""), EXPLICIT), 0xC000),
}


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_what_is_not_whole_is_answered_and_not_kept(receiver: RunningReceiver) -> None:
    before = receiver.files()
    with associated(receiver) as one:
        for what, (context, data, status) in UNSOUND.items():
            one.sendall(request("1.2.77.1.1", context) + pdata(context, 2, data))
            assert answer(one) == status, what
        other = request("1.2.77.1.1", sop_class="1.2.840.10008.5.1.4.1.1.4")
        one.sendall(other + pdata(1, 2, WHOLE))
        assert answer(one) == 0xA900
        one.sendall(request("1.2/../../x") + pdata(1, 2, WHOLE))
        assert answer(one) == 0x0117
        # A request without a dataset, one whose dataset does not come, one with an empty one.
        one.sendall(request("1.2.77.1.1", has=0x101))
        assert answer(one) == 0xC000
        one.sendall(request("1.2.77.1.1") + request("1.2.77.1.1") + pdata(1, 2, b""))
        assert [answer(one), answer(one)] == [0xC000, 0xC000]
        assert receiver.files() == before
        # The association is sound all the while.
        one.sendall(request("1.2.77.1.1") + pdata(1, 0, WHOLE[:50]) + pdata(1, 2, WHOLE[50:]))
        assert answer(one) == 0
        assert released(one)
    assert len(receiver.files()) == len(before) + 1 and receiver.unfinished() == []


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningReceiver]:
    with RunningReceiver(tmp_path_factory.mktemp("impatient"), idle_seconds=2.0) as running:
        yield running


def test_a_dataset_that_never_comes_ends_in_an_abort(impatient: RunningReceiver) -> None:
    before = impatient.files()
    for more in (b"", pdata(1, 0, WHOLE[:20])):
        with associated(impatient) as one:
            one.sendall(request("1.2.77.1.1") + more)
            assert closed(one)[:1] == b"\7"
    wait_until(lambda: not impatient.unfinished())
    assert impatient.files() == before


# -- silence ----------------------------------------------------------------------------------


@pytest.mark.parametrize("secure", [False, True])
def test_silent_connections_lock_nobody_out(secure: bool, tmp_path: Path) -> None:
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
    with RunningReceiver(tmp_path / "r", **limits, **files) as running, ExitStack() as held:
        for number in range(2, 6):
            held.enter_context(silent(running.port, f"127.0.0.{number}", 10, half))
        assert echo(running.port, "127.0.0.9", tls=tls) == 0
        held.enter_context(silent(running.port, "127.0.0.10", 4, half))

        def served() -> bool:  # who opens many at once is let wait a second
            try:
                return echo(running.port, "127.0.0.10", tls=tls) == 0
            except OSError:
                return False

        wait_until(served, every=0.2)
        assert len(running.children()) <= 1 + 2 * 6 + 1


@pytest.mark.parametrize("secure", [False, True])
def test_one_deadline_for_tls_and_request(secure: bool, tmp_path: Path) -> None:
    """A byte now and then does not prolong the time to associate."""
    files = {}
    if secure:
        made = make_certificates(tmp_path / "tls")
        files = {"cert_file": str(made.server), "key_file": str(made.server_key)}
    start = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc" if secure else b"\1\0\0\0\1\0"
    with (
        RunningReceiver(tmp_path / "r", associate_seconds=2.0, **files) as running,
        dripping(running.port, "127.0.0.2", start + bytes(500)) as one,
        silent(running.port, "127.0.0.3", 2) as others,
    ):
        for each in (one, *others):
            closed(each)
        wait_until(lambda: len(running.children()) == 1)
        assert "not associated in time" in running.log.read_text()


def test_one_byte_now_and_then_is_no_message(impatient: RunningReceiver) -> None:
    with associated(impatient) as one:
        stop = threading.Event()

        def drip() -> None:
            with suppress(OSError):
                one.sendall(request("1.2.77.1.1"))
                while not stop.wait(0.2):
                    one.sendall(pdata(1, 0, WHOLE[:2]))

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            assert closed(one)[:1] == b"\7"
        finally:
            stop.set()
            thread.join()
        wait_until(lambda: not impatient.unfinished())
        assert "the peer is too slow" in impatient.log.read_text()


def test_who_is_silent_between_messages_may_stay(impatient: RunningReceiver) -> None:
    """The minimum rate does not apply between messages."""
    with associated(impatient) as one:
        for number in range(4):
            threading.Event().wait(0.8)
            data = encoded(instance(f"1.2.77.1.{number}"), EXPLICIT)
            one.sendall(request(f"1.2.77.1.{number}") + pdata(1, 2, data))
            assert answer(one) == 0
        assert released(one)


def test_strangers_addresses_are_closed_before_tls(tmp_path: Path) -> None:
    allow = [{"ae_title": "MODALITY", "address": "127.0.0.9/32"}]
    limits = {"max_associations": 2, "max_per_peer": 2, "associate_seconds": 600.0}
    with (
        RunningReceiver(tmp_path / "r", allow=allow, **limits) as running,
        silent(running.port, "127.0.0.2", 40) as held,
    ):
        for one in held:
            assert closed(one) == b""
        assert len(running.children()) <= 1
        assert echo(running.port, "127.0.0.9") == 0


def test_a_stranger_who_asks_is_no_work(tmp_path: Path) -> None:
    """A rejected peer that does not disconnect does not count as an association."""
    limits = {"max_associations": 1, "max_per_peer": 1}
    with RunningReceiver(tmp_path / "r", **limits) as running:
        asks = associate([(1, CT, [EXPLICIT])], calling="STRANGER")
        with silent(running.port, "127.0.0.2", 1, asks) as held:
            assert exactly(held[0], 1) == b"\3"
            assert echo(running.port, "127.0.0.9") == 0


def test_strangers_do_not_make_the_receiver_forget_an_association(tmp_path: Path) -> None:
    allow = [{"ae_title": "MODALITY", "address": "127.0.0.1/32"}]
    limits = {"max_associations": 1, "max_per_peer": 1}
    with (
        RunningReceiver(tmp_path / "r", allow=allow, **limits) as running,
        associated(running) as first,
    ):
        with silent(running.port, "127.0.0.2", 1) as held:
            assert closed(held[0]) == b""
        wait_until(lambda: "addresses are not allowed" in running.log.read_text())
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", running.port), 60) as another:
                answer = b""
                with suppress(ConnectionError):
                    another.sendall(associate([(1, CT, [EXPLICIT])]))
                    answer = another.recv(1)
                # Rejected, or closed at once while the one before is still being ended.
                assert answer in (b"\3", b"")
        assert released(first)


# -- bombs ------------------------------------------------------------------------------------


def many_syntaxes() -> bytes:
    return associate([(1, CT, [EXPLICIT] + [""] * 16_000)])


def test_no_request_takes_much_memory(receiver: RunningReceiver) -> None:
    """Each bomb costs less than 20 MB, measured as the peak memory of the service's processes."""
    marks: list[int] = []
    stop = threading.Event()
    pid = receiver.pid()

    def watch() -> None:
        while not stop.wait(0.02):
            marks.append(highest_memory(pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        head = WHOLE[: WHOLE.index(b"\xe0\x7f")]
        zeros = struct.pack("<HH2sxxI", 0x7FE0, 0x10, b"OW", 1 << 30) + bytes(600 << 20)
        bomb = deflated(head + zeros)
        assert len(bomb) < 1 << 20
        small = struct.pack("<HH2sH", 0x0010, 0x0010, b"LO", 0)
        with associated(receiver) as one:
            one.sendall(request("1.2.77.1.1", 5) + stream(5, bomb))
            assert answer(one) == 0xC000
            one.sendall(request("1.2.77.1.1", 5) + stream(5, deflated(head + small * 3_000_000)))
            assert answer(one) == 0xC000
            # Fragments of two bytes, and millions of none.
            tiny = struct.pack(">IBB", 4, 1, 0) + b"ab"
            one.sendall(request("1.2.77.1.1") + pdu(4, tiny * 10_000) * 20)
            none = struct.pack(">IBB", 2, 1, 0)
            one.sendall(pdu(4, none * 20_000) * 20 + pdata(1, 2, b""))
            assert answer(one) == 0xC000
            assert released(one)
        huge = [
            struct.pack(">BxI", 1, 0xFFFFFFFF) + bytes(1 << 16),
            many_syntaxes(),
            associate([(1, CT, [EXPLICIT])], [str(n) for n in range(60_000 // 12)]),
        ]
        for data in huge:
            with socket.create_connection(("127.0.0.1", receiver.port), 60) as one:
                with suppress(OSError):
                    one.sendall(data)
                assert closed(one)[:1] == b"\7"
        giants = [
            struct.pack(">BxI", 4, 0xFFFFFFFF) + bytes(1 << 16),
            struct.pack(">BxI", 5, 0xFFFFFFFF) + bytes(1 << 16),
            pdata(1, 1, bytes(100_000)),
            b"".join(pdata(1, 1, b"ab") for _ in range(40_000)),
        ]
        for data in giants:
            with associated(receiver) as one:
                with suppress(OSError):
                    one.sendall(data)
                assert closed(one)[:1] in (b"\7", b"")
    finally:
        stop.set()
        thread.join()
    assert max(marks) < MOST_MEMORY, f"{max(marks) >> 20} MiB"
    wait_until(lambda: receiver.unfinished() == [])
    assert echo(receiver.port, "127.0.0.9") == 0


def stream(context: int, data: bytes) -> bytes:
    """Return a dataset in fragments of 60,000 bytes."""
    parts = [data[at : at + 60_000] for at in range(0, len(data), 60_000)]
    last = len(parts) - 1
    return b"".join(pdata(context, 2 * (n == last), part) for n, part in enumerate(parts))
