"""Send damaged messages to the storage SCP; `make fuzz` sends a hundred thousand."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

from fuzzed.cases import asking, make, sending, whole_datasets
from fuzzed.run import alone
from pacsgrid.pacs.part10 import read_meta
from support.dicom import ct
from support.receiver_process import RunningReceiver, associate
from support.waiting import wait_until

SEED = 4


def test_no_case_hurts_and_no_half_instance_is_taken() -> None:
    alone("receiver", 400)


def test_the_oracle_sees_what_is_cut(tmp_path: Path) -> None:
    case = next(
        case
        for case in (make(SEED, number, sending) for number in range(100))
        if whole_datasets(case.data)
    )
    whole = max(whole_datasets(case.data), key=len)
    end = case.data.rindex(whole[-50:]) + 50
    assert whole not in whole_datasets(case.data[: end - 1])


def test_the_service_outlives_them(tmp_path: Path) -> None:
    sent: set[bytes] = set()
    with RunningReceiver(tmp_path / "r", quiet_seconds=3600.0) as running:
        for number in range(60):
            case = make(SEED, number, asking if number % 5 == 0 else sending)
            sent |= whole_datasets(case.data)
            with socket.create_connection(("127.0.0.1", running.port)) as peer, suppress(OSError):
                peer.sendall(case.data)
                peer.shutdown(socket.SHUT_WR)
                while peer.recv(1 << 16):
                    pass
        wait_until(lambda: len(running.children()) == 1)
        assert running.unfinished() == []
        for path in running.files():
            meta = read_meta(path.read_bytes())
            assert meta and path.read_bytes()[meta.end :] in sent
        path = ct(tmp_path / "a.dcm", "1.2.3.99", "1.2.3.99.1")
        assoc = associate(running.port, [path])
        assert assoc.send_c_store(path).Status == 0
        assoc.release()
