"""The destination of our own C-MOVEs: which peers and instances it accepts."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import dcmread

from pacsgrid.dimse import requestor
from pacsgrid.dimse.association_settings import AssociationSettings
from pacsgrid.dimse.command_set import (
    AFFECTED_SOP_CLASS,
    AFFECTED_SOP_INSTANCE,
    C_STORE,
    COMMAND_FIELD,
    MESSAGE_ID,
    PRIORITY,
)
from pacsgrid.dimse.pdu import ProposedContext
from pacsgrid.dimse.status import NOT_AUTHORISED
from pacsgrid.embedded.ports import reserve_port
from pacsgrid.pacs.cstore_writer import CStoreWriter
from pacsgrid.pacs.move_destination import MoveDestination
from pacsgrid.pacs.rate_limiter import RateLimiter
from pacsgrid.pacs.staging import WriteGroup, name_for
from support.dicom import ct
from support.receiver_process import associate
from support.waiting import wait_until


@contextmanager
def listening(into: Path, wanted: set[str]) -> Iterator[int]:
    port = reserve_port()
    into.mkdir()
    with (
        WriteGroup() as group,
        MoveDestination(
            "PACSGRID", "127.0.0.1", port, CStoreWriter(into, wanted, group, RateLimiter(0)), 20.0
        ),
    ):
        yield port


def files(into: Path) -> set[str]:
    return {path.name for path in into.iterdir()}


def test_what_was_asked_for_is_taken_from_several_at_once(tmp_path: Path) -> None:
    paths = [ct(tmp_path / f"{n}.dcm", "1.2.3", f"1.2.3.{n}", fill=n) for n in range(12)]
    into = tmp_path / "in"

    def bring(mine: list[Path]) -> None:
        assoc = associate(port, mine, "SOURCE")
        codes.extend(int(assoc.send_c_store(path).Status) for path in mine)
        assoc.release()

    codes: list[int] = []
    with listening(into, {f"1.2.3.{n}" for n in range(11)}) as port:
        threads = [threading.Thread(target=bring, args=(paths[n::3],)) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assoc = associate(port, paths[:1], "SOURCE")
        assert assoc.send_c_echo().Status == 0
        assert assoc.send_c_store(paths[0]).Status == 0  # once more, and it is one
        assoc.release()
    assert sorted(codes) == [0] * 11 + [NOT_AUTHORISED]
    assert files(into) == {name_for(f"1.2.3.{n}") for n in range(11)}
    for n in range(11):
        assert dcmread(into / name_for(f"1.2.3.{n}")) == dcmread(paths[n])


def test_an_association_for_another_title_is_rejected(tmp_path: Path) -> None:
    with listening(tmp_path / "in", set()) as port:
        assoc = associate(port, [], "SOURCE", ae_title="ELSEWHERE")
        assert assoc.is_rejected
        answer = assoc.acceptor.primitive
        assert (answer.result, answer.result_source, answer.diagnostic) == (1, 1, 7)


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\1\0\0\0\0\4abcd"])
def test_who_stays_or_talks_nonsense_is_not_waited_for(tmp_path: Path, sent: bytes) -> None:
    path = ct(tmp_path / "a.dcm", "1.2.3", "1.2.3.1")
    into = tmp_path / "in"
    with listening(into, {"1.2.3.1"}) as port:
        stays = socket.create_connection(("127.0.0.1", port))
        stays.sendall(sent)
        assoc = associate(port, [path], "SOURCE")
        assert assoc.send_c_store(path).Status == 0
    stays.close()
    wait_until(lambda: not assoc.is_established)
    assert files(into) == {name_for("1.2.3.1")}


def test_half_an_instance_leaves_nothing(tmp_path: Path) -> None:
    class Lost(Exception):
        pass

    def half() -> Iterator[bytes]:
        yield bytes(6 << 20)
        raise Lost

    into = tmp_path / "in"
    kind = ProposedContext(1, "1.2.840.10008.5.1.4.1.1.2", ("1.2.840.10008.1.2.1",))
    with listening(into, {"1.2.3.1"}) as port, pytest.raises(Lost):
        peer = AssociationSettings("127.0.0.1", port, "PACSGRID", "SOURCE")
        with requestor.open_association(peer, [kind]) as (channel, _):
            command: dict[int, int | str] = {COMMAND_FIELD: C_STORE, MESSAGE_ID: 1, PRIORITY: 0}
            channel.send(
                1,
                {
                    **command,
                    AFFECTED_SOP_CLASS: kind.abstract_syntax,
                    AFFECTED_SOP_INSTANCE: "1.2.3.1",
                },
                half(),
            )
    assert files(into) == set()
