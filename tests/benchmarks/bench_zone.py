"""How many objects a second the embedded zone takes, on one connection and on several.

Each object is 512 KiB, put by python-irodsclient with a SHA-256 checksum to a replication resource
of two leaves. Every connection is a process of its own, as separate clients are; the zone runs as
the command that users start. Ends with the consistency check.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

from irods.session import iRODSSession

from irods_zone.consistency_check import check

HOME = "/bench/home/rods"
SIZE = 512 * 1024


def session(port: int) -> iRODSSession:
    return iRODSSession(host="127.0.0.1", port=port, user="rods", password="rods", zone="bench")


def put(port: int, file: str, coll: str, numbers: range, barrier: Barrier) -> None:
    """One client: connect, wait for the others, put its share, wait for the others."""
    with session(port) as s:
        s.collections.get(HOME)
        options = {"regChksum": "", "destRescName": "repl"}
        barrier.wait()
        for number in numbers:
            s.data_objects.put(file, f"{coll}/{number}", allow_redirect=False, **options)
        barrier.wait()


def rate(port: int, file: str, connections: int, objects: int, run: int) -> float:
    """Objects a second with so many connections."""
    coll = f"{HOME}/{connections}-{run}"
    with session(port) as s:
        s.collections.create(coll)
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(connections + 1)
    clients = [
        context.Process(
            target=put, args=(port, file, coll, range(i, objects, connections), barrier)
        )
        for i in range(connections)
    ]
    for client in clients:
        client.start()
    barrier.wait()
    start = time.perf_counter()
    barrier.wait()
    seconds = time.perf_counter() - start
    for client in clients:
        client.join()
        if client.exitcode:
            sys.exit(f"a client ended with {client.exitcode}")
    with session(port) as s:
        for obj in s.collections.get(coll).data_objects:
            if [r.status for r in obj.replicas] != ["1", "1"] or not obj.checksum:
                sys.exit(f"{obj.path}: {obj.replicas}")
        s.collections.remove(coll, force=True)
    return objects / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=60)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 4])
    a = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="bench-zone-"))
    command = [sys.executable, "-m", "irods_zone", "--zone", "bench", "--port", "0",
               "--dir", str(root / "zone")]  # fmt: skip
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline().rsplit(":", 1)[1])
        with session(port) as s:
            s.resources.create("repl", "replication")
            for leaf in ("leaf1", "leaf2"):
                s.resources.create(leaf, "unixfilesystem", "localhost", f"/{leaf}")
                s.resources.add_child("repl", leaf)
        file = root / "data"
        file.write_bytes(os.urandom(SIZE))
        rates: dict[int, list[float]] = {n: [] for n in a.connections}
        for run in range(a.runs):
            for connections, found in rates.items():
                found.append(rate(port, str(file), connections, a.objects, run))
    finally:
        server.terminate()
        server.wait()
    problems = list(check(root / "zone"))
    shutil.rmtree(root)
    print(f"{a.objects} objects of 512 KiB, SHA-256, two replicas, {os.cpu_count()} cores,"
          f" median of {a.runs} runs")  # fmt: skip
    first = statistics.median(rates[a.connections[0]])
    for connections, found in rates.items():
        middle = statistics.median(found)
        print(f"{connections:3} connections {middle:7.0f} objects/s  ({min(found):.0f} to"
              f" {max(found):.0f})  {middle / first:.2f} times the first")  # fmt: skip
    print(f"consistency check: {len(problems)} problems")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
