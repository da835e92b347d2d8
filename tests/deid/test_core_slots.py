"""The cores of a machine are shared by every process that anonymises."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from multiprocessing.synchronize import Event
from pathlib import Path

from pacsgrid.deid.core_slots import CoreSlots


def _count(folder: Path, log: Path) -> None:
    slots = CoreSlots(folder, 2)
    for _ in range(20):
        with slots.one(), log.open("ab", buffering=0) as stream:
            stream.write(b"+")
            time.sleep(0.002)
            stream.write(b"-")


def test_no_more_processes_work_than_there_are_slots(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    log = tmp_path / "log"
    workers = [fork.Process(target=_count, args=(tmp_path / "cores", log)) for _ in range(6)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    working = most = 0
    for mark in log.read_bytes():
        working += 1 if mark == ord("+") else -1
        most = max(most, working)
    assert (working, most) == (0, 2)
    assert log.read_bytes().count(b"+") == 120


def _hold(folder: Path, holds: Event) -> None:
    with CoreSlots(folder, 1).one():
        holds.set()
        time.sleep(600)


def test_the_slot_of_a_killed_process_is_free(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    holds = fork.Event()
    child = fork.Process(target=_hold, args=(tmp_path, holds))
    child.start()
    assert holds.wait(60) and child.pid
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    with CoreSlots(tmp_path, 1).one():
        pass
