"""C-GET from a scripted peer: complete, truncated, unrequested and very large instances."""

from __future__ import annotations

import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from pacsgrid.dimse import pdu
from pacsgrid.dimse.association_settings import AssociationSettings
from pacsgrid.dimse.command_set import (
    AFFECTED_SOP_CLASS,
    AFFECTED_SOP_INSTANCE,
    C_GET,
    C_STORE,
    COMMAND_FIELD,
    MESSAGE_ID,
    PRIORITY,
    RESPONDED_TO,
    RESPONSE,
    STATUS,
)
from pacsgrid.dimse.exceptions import AssociationReleasedError, ConnectionLostError
from pacsgrid.dimse.message_channel import MessageChannel
from pacsgrid.dimse.status import NOT_AUTHORISED, SUCCESS
from pacsgrid.dimse.stream import Stream
from pacsgrid.errors import SourceError, SourceUnavailableError, SourceUnreachableError
from pacsgrid.pacs.cstore_writer import CStoreWriter
from pacsgrid.pacs.part10 import read_meta
from pacsgrid.pacs.query_retrieve import GET, QueryRetrieve
from pacsgrid.pacs.rate_limiter import RateLimiter
from pacsgrid.pacs.staging import WriteGroup, name_for

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"


class Serving:
    """One association of a peer that has received a C-GET request."""

    def __init__(self, channel: MessageChannel, stream: Stream) -> None:
        self.channel, self.stream = channel, stream
        self.asked = channel.receive()

    def store(self, uid: str, dataset: Iterable[bytes], number: int = 1) -> int:
        command: dict[int, int | str] = {COMMAND_FIELD: C_STORE, MESSAGE_ID: number, PRIORITY: 0}
        self.channel.send(
            3, {**command, AFFECTED_SOP_CLASS: CT, AFFECTED_SOP_INSTANCE: uid}, dataset
        )
        return self.channel.receive().number(STATUS)

    def end(self, status: int = 0) -> None:
        told: dict[int, int | str] = {
            COMMAND_FIELD: C_GET | RESPONSE,
            RESPONDED_TO: 1,
            STATUS: status,
        }
        self.channel.send(1, {**told, AFFECTED_SOP_CLASS: GET})


@contextmanager
def peer(work: Callable[[Serving], None], chosen: dict[int, str]) -> Iterator[AssociationSettings]:
    """Serve one association in a thread; reject it if no context is chosen."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener, listener.accept()[0] as connection:
            stream = Stream(connection, 20.0)
            request = pdu.receive_request(stream)
            if not chosen:
                stream.send_last(pdu.encode_reject(1, 1, 7))
                return
            refused = {c.number: 3 for c in request.contexts if c.number not in chosen}
            stream.send(pdu.encode_accept(request, chosen, refused, 0, {CT: (False, True)}))
            try:
                serving = Serving(MessageChannel(stream, chosen, 1 << 20, request.max_pdu), stream)
                work(serving)
                while stream.read_exactly(1):
                    pass
            except (AssociationReleasedError, ConnectionLostError):
                pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield AssociationSettings("127.0.0.1", listener.getsockname()[1], "PACS", "PACSGRID")
    thread.join(30)
    assert not thread.is_alive()


def get(
    to: AssociationSettings,
    into: Path,
    wanted: set[str],
    seconds: float = 20.0,
    idle: float = 20.0,
) -> int:
    query = Dataset()
    query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", "1.2.3"
    into.mkdir(exist_ok=True)
    with WriteGroup() as group:
        writer = CStoreWriter(into, wanted, group, RateLimiter(0))
        settings = replace(to, idle_seconds=idle, answer_seconds=seconds)
        association = QueryRetrieve("pacs", settings, [GET], [CT])
        with closing(association):
            if not association.offers(GET, [CT]):
                raise association.refusal(GET)
            return association.get(query, writer)


BOTH = {1: EXPLICIT, 3: EXPLICIT}


def test_a_store_without_a_dataset_is_answered(tmp_path: Path) -> None:
    codes: list[int] = []

    def work(serving: Serving) -> None:
        command: dict[int, int | str] = {COMMAND_FIELD: C_STORE, MESSAGE_ID: 1, PRIORITY: 0}
        serving.channel.send(
            3, {**command, AFFECTED_SOP_CLASS: CT, AFFECTED_SOP_INSTANCE: "1.2.3.1"}
        )
        codes.append(serving.channel.receive().number(STATUS))
        codes.append(serving.store("1.2.3.2", [b"e" * 100]))
        serving.end()

    with peer(work, BOTH) as to:
        assert get(to, tmp_path / "in", {"1.2.3.1", "1.2.3.2"}) == 0
    assert codes == [0xC000, SUCCESS]
    assert [path.name for path in (tmp_path / "in").iterdir()] == [name_for("1.2.3.2")]


def test_what_comes_is_written_and_what_was_not_asked_for_is_not(tmp_path: Path) -> None:
    codes: list[int] = []

    def work(serving: Serving) -> None:
        assert b"1.2.3" in (serving.asked.dataset or b"")
        codes.append(serving.store("1.2.3.1", [b"a" * 300_000, b"b" * 300_000]))
        codes.append(serving.store("1.2.3.1", [b"c" * 100]))
        codes.append(serving.store("1.2.3.9", [b"d" * 900_000]))
        codes.append(serving.store("1.2.3.2", [b"e" * 100]))
        serving.end()

    with peer(work, BOTH) as to:
        assert get(to, tmp_path / "in", {"1.2.3.1", "1.2.3.2"}) == 0
    assert codes == [SUCCESS, SUCCESS, NOT_AUTHORISED, SUCCESS]
    files = {path.name: path.read_bytes() for path in (tmp_path / "in").iterdir()}
    assert set(files) == {name_for("1.2.3.1"), name_for("1.2.3.2")}
    first = files[name_for("1.2.3.1")]
    meta = read_meta(first)
    assert meta is not None and (meta.sop_uid, meta.transfer_syntax) == ("1.2.3.1", EXPLICIT)
    assert first[meta.end :] == b"a" * 300_000 + b"b" * 300_000


def test_an_instance_is_never_whole_in_memory(tmp_path: Path) -> None:
    size = 96 << 20

    def work(serving: Serving) -> None:
        serving.store("1.2.3.1", (bytes(1 << 20) for _ in range(size >> 20)))
        serving.end()

    tracemalloc.start()
    try:
        with peer(work, BOTH) as to:
            assert get(to, tmp_path / "in", {"1.2.3.1"}) == 0
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    (path,) = (tmp_path / "in").iterdir()
    assert path.stat().st_size > size
    assert peak < size // 3


@pytest.mark.parametrize("way", ["silent", "closes", "aborts", "nonsense"])
def test_half_an_instance_is_none_and_what_came_before_is_kept(tmp_path: Path, way: str) -> None:
    def work(serving: Serving) -> None:
        serving.store("1.2.3.1", [b"a" * 1000])

        def half() -> Iterator[bytes]:
            yield bytes(6 << 20)
            if way == "silent":
                threading.Event().wait(2)
            elif way == "nonsense":
                serving.stream.send(b"\xff" * 5000)
            elif way == "aborts":
                serving.stream.send(pdu.encode_abort(0))
            raise ConnectionLostError

        serving.store("1.2.3.2", half())

    with (
        peer(work, BOTH) as to,
        pytest.raises(SourceUnreachableError, match="source pacs: no answer"),
    ):
        get(to, tmp_path / "in", {"1.2.3.1", "1.2.3.2"}, idle=0.5)
    assert [path.name for path in (tmp_path / "in").iterdir()] == [name_for("1.2.3.1")]


def test_a_peer_that_never_answers_is_left(tmp_path: Path) -> None:
    over = threading.Event()
    with peer(lambda serving: over.wait(20) and None, BOTH) as to:
        with pytest.raises(SourceUnreachableError):
            get(to, tmp_path / "in", {"1.2.3.1"}, seconds=0.3)
        over.set()


@pytest.mark.parametrize(
    ("chosen", "error", "told"),
    [
        ({}, SourceError, "called AE title not recognised"),
        ({1: EXPLICIT}, SourceError, "no storage context accepted"),
        ({3: EXPLICIT}, SourceError, "accepted no context for the operation"),
    ],
)
def test_what_is_not_agreed_is_said(
    tmp_path: Path, chosen: dict[int, str], error: type[Exception], told: str
) -> None:
    def work(serving: Serving) -> None:
        raise AssertionError("nothing may be asked")

    with peer(work, chosen) as to, pytest.raises(error, match=told):
        get(to, tmp_path / "in", {"1.2.3.1"})


def test_nobody_there_is_unreachable(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(SourceUnavailableError, match="source pacs: "):
        get(
            AssociationSettings("127.0.0.1", port, "PACS", "PACSGRID"), tmp_path / "in", {"1.2.3.1"}
        )


def test_many_bytes_at_once_are_as_they_were_sent() -> None:
    sent = bytes(range(256)) * 2000
    ours, theirs = socket.socketpair()
    with ours, theirs:
        thread = threading.Thread(target=lambda: theirs.sendall(sent))
        thread.start()
        stream = Stream(ours, 20.0)
        assert stream.read_exactly(10) + stream.read_exactly(len(sent) - 10) == sent
        thread.join()
