"""Rates of the grid against one zone, beside loops of plain python-irodsclient calls.

make bench-grid measures an embedded zone; where PACSGRID_TEST_ZONES names a file (see
tests/support/zones_under_test.py), its `home` zone is measured, and `iput -r -K` too where
iCommands and IRODS_ENVIRONMENT_FILE are there.
"""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import irods.keywords as kw
import psycopg2
import yaml
from irods.api_number import api_number
from irods.connection import Connection
from irods.message import iRODSMessage

from pacsgrid.config import ReplicationPolicy, ZoneSettings
from pacsgrid.embedded.ports import accepts, reserve_port
from pacsgrid.embedded.postgres import EmbeddedPostgres
from pacsgrid.embedded.process import ChildProcess
from pacsgrid.grid import Zone, deposit, ensure_project, remove_collection, verify
from pacsgrid.grid.admin import prepare_zone
from pacsgrid.grid.fetch import fetch
from pacsgrid.ledger import Ledger, migrate
from pacsgrid.model import AnonymisedInstance

COUNT, SIZE = 1000, 512 << 10
MANY = 10_000
LOOP = 200  # the loops are slow and steady, so fewer objects tell their rate


@contextmanager
def zone_of(folder: Path) -> Iterator[Zone]:
    """The zone to measure: a named one, its project `bench` emptied, or an embedded one."""
    named = os.environ.get("PACSGRID_TEST_ZONES")
    if not named:
        with embedded_zone(folder) as zone:
            yield zone
        return
    given = yaml.safe_load(Path(named).read_text())["home"]
    known = set(ZoneSettings.model_fields)
    with Zone(ZoneSettings(**{k: v for k, v in given.items() if k in known})) as zone:
        empty(zone)
        ensure_project(zone, "bench")
        try:
            yield zone
        finally:
            empty(zone)


def empty(zone: Zone) -> None:
    """Remove what an earlier run left."""
    remove_collection(zone, f"/{zone.settings.name}/home/bench")


@contextmanager
def embedded_zone(folder: Path) -> Iterator[Zone]:
    """A zone in a process of its own, two replicas of everything."""
    port = reserve_port()
    command = [sys.executable, "-m", "irods_zone", "--zone", "bench"]
    command += ["--port", str(port), "--dir", str(folder / "zone")]
    command += ["--admin", "rods", "--password", "rods"]
    server = ChildProcess("zone", command, folder / "zone.log", dict(os.environ))
    server.start()
    try:
        server.wait_ready(lambda: accepts(port), 30)
        with Zone(
            ZoneSettings(
                name="bench",
                host="127.0.0.1",
                port=port,
                user="rods",
                password="rods",
                resource="pair",
                copies=2,
            )
        ) as zone:
            prepare_zone(zone, {"pair": ["disk1", "disk2"]}, str(folder))
            ensure_project(zone, "bench")
            yield zone
    finally:
        server.stop()


def instances(folder: Path, study: str, count: int, size: int) -> list[AnonymisedInstance]:
    """One series of random objects."""
    made = []
    for number in range(count):
        data = os.urandom(size)
        path = folder / f"{study}-{number}"
        path.write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        made.append(
            AnonymisedInstance(
                study, f"{study}.1", f"{study}.1.{number}", "S1", "CT", "", digest, size, path
            )
        )
    return made


def rate(name: str, count: int, work: Callable[[], object]) -> float:
    """Objects a second of `work` over `count` objects."""
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    print(f"{name:<58}{count / seconds:10.0f} objects/s", flush=True)
    return count / seconds


@contextmanager
def counted() -> Iterator[Counter[int]]:
    """Count the API requests that go over the wire, by number."""
    seen: Counter[int] = Counter()
    send = Connection.send

    def counting(self: Connection, message: iRODSMessage) -> None:
        seen[message.int_info] += 1
        send(self, message)

    Connection.send = counting
    try:
        yield seen
    finally:
        Connection.send = send


def iput(zone: Zone, made: list[AnonymisedInstance], folder: Path, home: str) -> None:
    """Put the same files with the C++ client."""
    source = folder / "iput"
    source.mkdir()
    for one in made:
        os.link(one.path, source / one.path.name)
    command = ["iput", "-r", "-K", "-R", zone.settings.resource, str(source), f"{home}/iput"]
    subprocess.run(command, check=True)


def plan(folder: Path) -> None:
    """Planning for a million instances in the ledger, three proofs each."""
    policy = ReplicationPolicy(zones={"brno": {"copies": 2}, "praha": {"copies": 1}})
    with EmbeddedPostgres(folder / "postgres") as server:
        server.create_database("plan")
        dsn = server.dsn("plan")
        migrate(dsn)
        with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
            cursor.execute(_MILLION)
            connection.commit()
            connection.autocommit = True
            cursor.execute("ANALYZE")
        tasks = Ledger(dsn).tasks
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        count = sum(1 for _ in tasks.all("demo", policy))
        seconds = time.perf_counter() - start
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"planning 1,000,000 instances: {count} tasks in {seconds:.1f} s, memory +{grown} KiB")


_MILLION = """
INSERT INTO pacsgrid.study (ref, project, source, profile_hash, state)
SELECT 'st-' || n, 'demo', 'pacs', 'hash', 'verified' FROM generate_series(1, 5000) n;
INSERT INTO pacsgrid.instance
SELECT 'demo', '1.' || s || '.' || n, 'st-' || s, '1.' || s, '1.' || s || '.1', 'S', 'CT',
       repeat('a', 64), 524288 FROM generate_series(1, 5000) s, generate_series(1, 200) n;
INSERT INTO pacsgrid.proof
SELECT i.ref, i.sop_uid, z.zone, z.replica, 'disk', i.sha256, true,
       now() - random() * interval '20 days'
FROM pacsgrid.instance i, (VALUES ('brno', 0), ('brno', 1), ('praha', 0)) z (zone, replica);
"""


def main() -> None:
    """Run every measurement and print it."""
    with tempfile.TemporaryDirectory(prefix="bench-grid-") as name, zone_of(Path(name)) as zone:
        folder = Path(name)
        made = instances(folder, "1.1", COUNT, SIZE)
        objects = zone.session.data_objects
        home = f"/{zone.settings.name}/home/bench"
        collection = f"{home}/loop"
        zone.session.collections.create(collection)
        options = {kw.REG_CHKSUM_KW: "", kw.DEST_RESC_NAME_KW: zone.settings.resource}

        def put_loop() -> None:
            for one in made[:LOOP]:
                objects.put(str(one.path), f"{collection}/{one.sop_uid}", **options)

        loop = rate("put loop of python-irodsclient, checksum, 2 replicas", LOOP, put_loop)
        ours = rate("deposit", COUNT, lambda: deposit(zone, "bench", made, {}))
        print(f"{'deposit / put loop':<58}{ours / loop:10.1f}")
        if os.environ.get("PACSGRID_TEST_ZONES") and shutil.which("iput"):
            peer = rate("iput -r -K", LOOP, lambda: iput(zone, made[:LOOP], folder, home))
            print(f"{'deposit / iput -r -K':<58}{ours / peer:10.1f}")
            bundled = instances(folder, "1.3", LOOP, SIZE)
            with Zone(zone.settings.replace(bundle=True)) as other:
                rate("deposit in bundles", LOOP, lambda: deposit(other, "bench", bundled, {}))

        def get_loop() -> None:
            for one in made[:LOOP]:
                objects.get(f"{collection}/{one.sop_uid}", str(folder / "got"), forceFlag="")

        loop = rate("get loop of python-irodsclient, nothing proven", LOOP, get_loop)
        data = f"{home}/data"
        ours = rate("fetch, every object proven", COUNT, lambda: fetch(zone, data, folder / "out"))
        print(f"{'fetch / get loop':<58}{ours / loop:10.1f}")
        plan(folder)
        rate("verify, both replicas recomputed", COUNT, lambda: verify(zone, "bench", made))
        many = instances(folder, "1.2", MANY, 1 << 10)
        deposit(zone, "bench", many, {})
        with counted() as requests:
            rate("verify, small objects", MANY, lambda: verify(zone, "bench", many))
        storage = requests.pop(api_number["FILE_CHKSUM_AN"])
        asked = sum(requests.values())
        print(f"{MANY} objects: {storage} reads of storage, {asked} catalog operations")


if __name__ == "__main__":
    main()
