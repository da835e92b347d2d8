"""Throw damaged conversations at receiver and gateway (``make fuzz``); exit status 1 if one hurts.

In this process, over socket pairs, thousands a second: what is tested is the code that reads what
peers send. After each case no file of the receiver may hold what was not sent to its end, and
nothing may be left open; memory is looked at from time to time.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fuzzed import deid_pixels, deid_texts, deid_uids, deid_values
from fuzzed.cases import Case, asking, make, sending, whole_datasets
from pacsgrid.config import Peer
from pacsgrid.dimse.stream import Stream
from pacsgrid.gateway import Gateway
from pacsgrid.gateway.dimse import association as asked
from pacsgrid.gateway.dimse.contexts import StoredSyntaxes
from pacsgrid.grid.sharing import share
from pacsgrid.log_suppression import suppress_library_logs
from pacsgrid.pacs.part10 import read_meta
from pacsgrid.pacs.storage_scp import association as received
from pacsgrid.pacs.storage_scp.incoming import OWNERS, PARTS, Incoming
from support.dicom import ct
from support.served_zones import PROJECT, ServedZones

PATIENCE = 60  # seconds after which a case counts as hung
GROWTH = 24 << 20  # bytes by which memory may grow after the first cases


class Hurt(Exception):
    """A case did what no case may do."""


@contextmanager
def conversation(case: Case) -> Iterator[socket.socket]:
    """Give the acceptor's end of a connection whose peer has sent all and waits no longer."""
    peer, ours = socket.socketpair()
    try:
        for one in (peer, ours):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
        peer.sendall(case.data)
        peer.shutdown(socket.SHUT_WR)
        yield ours
    finally:
        peer.close()
        ours.close()


class Receiving:
    """The receiver's side; its folder is emptied after each case."""

    name = "receiver"
    talk = staticmethod(sending)

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.filed = 0

    def run(self, case: Case) -> None:
        incoming = Incoming(self._folder, 0)
        with conversation(case) as ours:
            stream = Stream(ours, float(PATIENCE))
            received.StorageAssociation(stream, incoming, lambda request: None, 131072).serve()
        incoming.close()
        if left := [*(self._folder / PARTS).iterdir(), *(self._folder / OWNERS).iterdir()]:
            raise Hurt(f"{len(left)} files are left under temporary names")
        files = list(self._folder.glob("[!.]*/*.dcm"))
        if not files:
            return
        self.filed += len(files)
        sent = whole_datasets(case.data)
        for path in files:
            data = path.read_bytes()
            meta = read_meta(data)
            if meta is None or data[meta.end or len(data) :] not in sent:
                raise Hurt("a file holds what was not sent to its end")
        for directory in {path.parent for path in files}:
            shutil.rmtree(directory)


PEER = Peer(ae_title="FUZZ", user="eva#brno")


class Asking:
    """The gateway's side."""

    name = "gateway"
    talk = staticmethod(asking)

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._stored = StoredSyntaxes(gateway.index)

    def run(self, case: Case) -> None:
        with conversation(case) as ours:
            stream = Stream(ours, float(PATIENCE))
            asked.QueryRetrieveAssociation(
                self._gateway, stream, self._stored, lambda request: PEER
            ).serve()


def rss() -> int:
    """Give this process's resident memory in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def state() -> tuple[int, int]:
    """Give the numbers of open files and of threads."""
    return len(os.listdir("/proc/self/fd")), threading.active_count()


def throw(
    side: Receiving | Asking, seed: int, numbers: range, tell: Callable[[str], None] = print
) -> None:
    """Throw cases at a side.

    Raises
    ------
    Hurt
        Names the case; `make(seed, number, side.talk)` makes it again.
    """
    start = time.monotonic()
    before, memory = None, 0

    def hung(number: int, frame: object) -> None:
        raise Hurt("it takes too long")

    old = signal.signal(signal.SIGALRM, hung)
    try:
        for count, number in enumerate(numbers):
            signal.alarm(PATIENCE)
            try:
                side.run(make(seed, number, side.talk))
            except Exception as error:
                raise Hurt(f"{side.name}, case {number} of seed {seed}: {error!r}") from error
            signal.alarm(0)
            # What is loaded at first use is no leak: half of the cases have used it all.
            if count == len(numbers) // 2:
                gc.collect()
                before, memory = state(), rss()
        gc.collect()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
    after, grown = state(), rss() - memory
    if before and (after[0] > before[0] + 2 or after[1] > before[1] + 2):
        raise Hurt(f"{side.name}: files and threads grew from {before} to {after}")
    if before and grown > GROWTH:
        raise Hurt(f"{side.name}: memory grew by {grown >> 20} MiB")
    per_second = len(numbers) / (time.monotonic() - start)
    tell(
        f"{side.name}: {len(numbers)} cases, {per_second:.0f}/s; files and threads open "
        f"{before} and {after}, memory grown by {grown / (1 << 20):.1f} MiB"
    )


@contextmanager
def asking_side(directory: Path) -> Iterator[Asking]:
    """Give the gateway's side, over zones with a few small instances."""
    with ServedZones(directory) as zones:
        for study in ("1.2.1", "1.2.2"):
            zones.add(
                ct(
                    directory / "in" / f"{study}.{n}.dcm",
                    study,
                    f"{study}.1.{n}",
                    "Sub^P1",
                    n,
                    "P1",
                )
                for n in range(2)
            )
        share(zones.home, PROJECT, ["eva#brno"])
        site = zones.site(access_seconds=86400.0, refresh_seconds=86400.0)
        with Gateway(site) as gateway:
            gateway.refresh()
            yield Asking(gateway)


def quiet() -> None:
    """Leave out what is logged about each case."""
    suppress_library_logs()
    logging.getLogger("pacsgrid").setLevel(logging.CRITICAL)


def alone(side: str, cases: int) -> None:
    """Run some cases in a process of their own, whose memory is theirs; fails with what it says."""
    command = [sys.executable, "-m", "fuzzed.run", "--only", side, "--cases", str(cases)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    told = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
    assert told.returncode == 0, told.stdout[-2000:] + told.stderr[-2000:]


# How many of ten cases fall to each side.
SHARES = {"receiver": 5, "gateway": 2, "uids": 1, "pixels": 2, "texts": 2}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=SHARES, help="one side, with all cases")
    given = parser.parse_args()
    quiet()

    def cases(side: str) -> range:
        """What falls to a side of all cases."""
        if given.only:
            return range(given.cases if given.only == side else 0)
        return range(given.cases * SHARES[side] // sum(SHARES.values()))

    shared = Path("/dev/shm")  # nothing has to get to a disk here
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as name:
        try:
            if some := cases("uids"):
                print(deid_uids.throw(given.seed, some, Path(name)))
                print(f"values read alike: {deid_values.agree(given.seed, len(some))}")
            if some := cases("texts"):
                print(deid_texts.throw(given.seed, some))
            if some := cases("pixels"):
                deid_pixels.throw(Path(name) / "pixels", given.seed, some)
            if some := cases("receiver"):
                receiving = Receiving(Path(name) / "incoming")
                throw(receiving, given.seed, some)
                print(f"receiver: {receiving.filed} instances filed, each as it was sent")
                if receiving.filed < len(some) // 4:
                    raise Hurt("receiver: most cases never got to an instance; they test nothing")
            if some := cases("gateway"):
                with asking_side(Path(name) / "zones") as asked:
                    throw(asked, given.seed, some)
        except (Hurt, deid_pixels.Hurt, AssertionError) as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
