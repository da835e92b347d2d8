"""Load a zone with many clients that are killed at random, then check what is left.

Clients work on the same few objects, so they meet: a refusal that another client's work explains
is expected, any other error is a finding, and so is every line that the server logs. At the end
the server must hold no more files than the connections to its catalog, no replica may be open,
every good object must be whole, and the consistency check must find nothing.

    PYTHONPATH=plugins:tests python -m support.zone_soak --operations 100000
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from irods_zone.api_numbers import Api
from irods_zone.consistency_check import check
from irods_zone.error_codes import ErrorCode
from irods_zone.xml_structures import escape, parse
from support.zone_client import WireClient, pairs

HOME = "/soak/home/rods"
COLLECTIONS = [f"{HOME}/c{n}" for n in range(4)]
PATHS = [f"{c}/o{n}" for c in COLLECTIONS for n in range(12)]
RESOURCES = ("demoResc", "other", "repl")
BUSY = {ErrorCode.INTERMEDIATE_REPLICA_ACCESS, ErrorCode.LOCKED_DATA_OBJECT_ACCESS}
ELSEWHERE = ErrorCode.HIERARCHY_ERROR
GONE = {
    ErrorCode.USER_FILE_DOES_NOT_EXIST,
    ErrorCode.OBJ_PATH_DOES_NOT_EXIST,
    ErrorCode.CAT_UNKNOWN_FILE,
    ErrorCode.CAT_NO_ROWS_FOUND,
    ErrorCode.CAT_UNKNOWN_COLLECTION,
    ErrorCode.SYS_REPLICA_DOES_NOT_EXIST,
}
THERE = {
    ErrorCode.OVERWRITE_WITHOUT_FORCE_FLAG,
    ErrorCode.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME,
    ErrorCode.CAT_NAME_EXISTS_AS_COLLECTION,
    ErrorCode.CAT_NAME_EXISTS_AS_DATAOBJ,
}
OTHER_AVU = {ErrorCode.CAT_SUCCESS_BUT_WITH_NO_INFO}
ALREADY = {ErrorCode.SYS_COPY_ALREADY_IN_RESC}  # a good replica is there
EXPECTED = {0, 1, 2} | BUSY | GONE | THERE | OTHER_AVU | ALREADY


def made(rng: random.Random) -> bytes:
    """Return random content that starts with its own hash."""
    rest = rng.randbytes(rng.choice((0, 10, 1000, 30_000, 300_000)))
    return hashlib.sha256(rest).digest() + rest


def whole(data: bytes) -> bool:
    return hashlib.sha256(data[32:]).digest() == data[:32]


class Worker:
    """One client process's operations."""

    def __init__(self, port: int, seed: int) -> None:
        self.rng = random.Random(seed)
        self.client = WireClient(port, zone="soak")
        self.operations: list[Callable[[], int]] = [
            self.put, self.put, self.write_in_parts, self.read, self.read, self.get, self.unlink,
            self.rename, self.replicate, self.trim, self.checksum, self.metadata, self.stat,
            self.query, self.collections,
        ]  # fmt: skip

    def step(self) -> tuple[str, int]:
        """Do one operation; return its name and status."""
        operation = self.rng.choice(self.operations)
        return operation.__name__, operation()

    def about(self, api: int, path: str, bs: bytes = b"", **keywords: str) -> Any:
        return self.client.ask(api, (
            f"<DataObjInp_PI><objPath>{path}</objPath><createMode>384</createMode><openFlags>2"
            f"</openFlags><offset>0</offset><dataSize>{len(bs)}</dataSize><numThreads>0"
            f"</numThreads><oprType>0</oprType>{pairs(**keywords)}</DataObjInp_PI>"
        ), bs)  # fmt: skip

    def path(self) -> str:
        return self.rng.choice(PATHS)

    def put(self) -> int:
        """Put; an object that a forced put finds on other resources is overwritten where it is.

        A real server refuses to force an object onto a root resource where it has no replica, and
        without the flag, or without a resource, nothing of that kind (rsDataObjPut).
        """
        data = made(self.rng)
        sha = "sha2:" + base64.b64encode(hashlib.sha256(data).digest()).decode()
        options = {"destRescName": self.rng.choice(RESOURCES), "dataIncluded": ""}
        options[self.rng.choice(("verifyChksum", "regChksum", "noChksum"))] = sha
        if self.rng.random() < 0.7:
            options["forceFlag"] = ""
        path = self.path()
        status = int(self.about(Api.DATA_OBJ_PUT_AN, path, data, **options).int_info)
        if status == ELSEWHERE and "forceFlag" in options:
            del options["destRescName"]
            status = int(self.about(Api.DATA_OBJ_PUT_AN, path, data, **options).int_info)
        return status

    def write_in_parts(self) -> int:
        data = made(self.rng)
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC
        fd = self.client.open(self.path(), flags, destRescName=self.rng.choice(RESOURCES))
        if fd < 3:
            return fd
        for at in range(0, len(data), 50_000):
            part = data[at : at + 50_000]
            done = self.client.descriptor(Api.DATA_OBJ_WRITE_AN, fd, len(part), part).int_info
            if done != len(part):
                return -1 if done >= 0 else done
        return self.client.descriptor(Api.DATA_OBJ_CLOSE_AN, fd).int_info

    def read(self) -> int:
        fd = self.client.open(self.path(), os.O_RDONLY)
        if fd < 3:
            return fd
        while (block := self.client.descriptor(Api.DATA_OBJ_READ_AN, fd, 100_000)).int_info > 0:
            assert len(block.byte_stream) == block.int_info
        return self.client.descriptor(Api.DATA_OBJ_CLOSE_AN, fd).int_info or min(block.int_info, 0)

    def get(self) -> int:
        return min(0, int(self.about(Api.DATA_OBJ_GET_AN, self.path()).int_info))

    def unlink(self) -> int:
        force = {"forceFlag": ""} if self.rng.random() < 0.8 else {}
        return int(self.about(Api.DATA_OBJ_UNLINK_AN, self.path(), **force).int_info)

    def rename(self) -> int:
        both = "".join(
            f"<DataObjInp_PI><objPath>{self.path()}</objPath><oprType>11</oprType>{pairs()}"
            "</DataObjInp_PI>" for _ in range(2)
        )  # fmt: skip
        return self.client.ask(
            Api.DATA_OBJ_RENAME_AN, f"<DataObjCopyInp_PI>{both}</DataObjCopyInp_PI>"
        ).int_info

    def replicate(self) -> int:
        where = {"destRescName": self.rng.choice(RESOURCES)}
        if self.rng.random() < 0.3:
            where = {"updateRepl": "", "all": ""}
        return int(self.about(Api.DATA_OBJ_REPL_AN, self.path(), **where).int_info)

    def trim(self) -> int:
        options = {"copies": "1"} | ({"replNum": "1"} if self.rng.random() < 0.5 else {})
        return int(self.about(Api.DATA_OBJ_TRIM_AN, self.path(), **options).int_info)

    def checksum(self) -> int:
        options = self.rng.choice(({}, {"forceChksum": ""}, {"ChksumAll": "", "forceChksum": ""}))
        return int(self.about(Api.DATA_OBJ_CHKSUM_AN, self.path(), **options).int_info)

    def metadata(self) -> int:
        verb, value = self.rng.choice(("add", "rm", "set")), str(self.rng.randrange(3))
        fields = [verb, "-d", self.path(), "key", value, ""]
        body = "".join(f"<arg{i}>{v}</arg{i}>" for i, v in enumerate(fields))
        return self.client.ask(
            Api.MOD_AVU_METADATA_AN, f"<ModAVUMetadataInp_PI>{body}{pairs()}</ModAVUMetadataInp_PI>"
        ).int_info

    def stat(self) -> int:
        return int(self.about(Api.OBJ_STAT_AN, self.path()).int_info)

    def query(self) -> int:
        return self.client.ask(
            Api.GEN_QUERY_AN, query([403, 404, 413], {501: f"like '{HOME}%'"})
        ).int_info

    def collections(self) -> int:
        path = f"{self.rng.choice(COLLECTIONS)}/s{self.rng.randrange(3)}"
        api = self.rng.choice((Api.COLL_CREATE_AN, Api.RM_COLL_AN))
        return self.client.ask(api, (
            f"<CollInpNew_PI><collName>{path}</collName><flags>0</flags><oprType>0</oprType>"
            f"{pairs(recursiveOpr='', forceFlag='')}</CollInpNew_PI>"
        )).int_info  # fmt: skip


def query(columns: list[int], where: dict[int, str]) -> str:
    """Return a GenQueryInp_PI."""
    selected = "".join(f"<inx>{n}</inx>" for n in columns) + "<ivalue>1</ivalue>" * len(columns)
    conditions = "".join(f"<inx>{n}</inx>" for n in where)
    conditions += "".join(f"<svalue>{escape(v)}</svalue>" for v in where.values())
    return (
        f"<GenQueryInp_PI><maxRows>5000</maxRows><continueInx>0</continueInx><partialStartIndex>0"
        f"</partialStartIndex><options>0</options>{pairs()}<InxIvalPair_PI><iiLen>{len(columns)}"
        f"</iiLen>{selected}</InxIvalPair_PI><InxValPair_PI><isLen>{len(where)}</isLen>{conditions}"
        "</InxValPair_PI></GenQueryInp_PI>"
    )


def work(port: int, seed: int, counts: Any, slot: int, findings: str) -> None:
    """Do operations until the process is killed."""
    worker = Worker(port, seed)
    with open(findings, "a", buffering=1) as out:
        while True:
            name, status = worker.step()
            if status not in EXPECTED:
                out.write(f"{name}: {status}\n")
            counts[slot] += 1


def soak(operations: int, clients: int, root: Path, seed: int) -> list[str]:
    """Run the soak; return everything that should not be."""
    command = [sys.executable, "-m", "irods_zone", "--zone", "soak", "--port", "0",
               "--dir", str(root / "zone")]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": sys.path[0]}
    with open(root / "server.log", "w") as log:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=env)
    assert server.stdout is not None
    port = int(server.stdout.readline().rsplit(":", 1)[1])
    try:
        prepare(port)
        files = handles(server.pid)
        kills, seconds = run_clients(port, operations, clients, root, random.Random(seed))
        found = [f"client: {line}" for line in (root / "findings").read_text().splitlines()]
        found += left_behind(port, server.pid, files, clients)
    finally:
        server.terminate()
        server.wait(30)
    found += [f"server: {line}" for line in (root / "server.log").read_text().splitlines()]
    found += [str(problem) for problem in check(root / "zone")]
    print(f"{operations} operations, {clients} clients at a time, {kills} killed, {seconds:.0f} s,"
          f" {operations / seconds:.0f} operations/s, {len(found)} findings")  # fmt: skip
    return found


def prepare(port: int) -> None:
    """Make a second resource, a replicating one and the collections."""
    client = WireClient(port, zone="soak")

    def admin(*arguments: str) -> None:
        body = "".join(f"<arg{i}>{v}</arg{i}>" for i, v in enumerate((arguments + ("",) * 10)[:10]))
        answer = client.ask(
            Api.GENERAL_ADMIN_AN, f"<generalAdminInp_PI>{body}</generalAdminInp_PI>"
        )
        assert answer.int_info == 0, (arguments, answer.int_info)

    for name in ("other", "leaf1", "leaf2"):
        admin("add", "resource", name, "unixfilesystem", f"localhost:/{name}")
    admin("add", "resource", "repl", "replication", "")
    for leaf in ("leaf1", "leaf2"):
        admin("add", "childtoresc", "repl", leaf)
    for path in COLLECTIONS:
        client.ask(
            Api.COLL_CREATE_AN,
            f"<CollInpNew_PI><collName>{path}</collName>{pairs()}</CollInpNew_PI>",
        )
    client.close()


def run_clients(
    port: int, operations: int, clients: int, root: Path, rng: random.Random
) -> tuple[int, float]:
    """Keep clients running and kill some; return the number of kills and the seconds."""
    context = multiprocessing.get_context("spawn" if sys.platform == "darwin" else "fork")
    counts = context.RawArray("Q", clients)
    findings = root / "findings"
    findings.touch()

    def begin(slot: int) -> Any:
        process = context.Process(
            target=work, args=(port, rng.getrandbits(32), counts, slot, str(findings)), daemon=True
        )
        process.start()
        return process

    running = [begin(slot) for slot in range(clients)]
    start, kills = time.monotonic(), 0
    while sum(counts) < operations:
        time.sleep(rng.uniform(0.05, 0.3))
        slot = rng.randrange(clients)
        if not running[slot].is_alive():
            findings.open("a").write(f"client ended by itself: {running[slot].exitcode}\n")
        running[slot].kill()
        running[slot].join()
        kills += 1
        running[slot] = begin(slot)
    seconds = time.monotonic() - start
    for process in running:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    return kills, seconds


def handles(pid: int) -> Counter[str]:
    """Count the open files of a process by kind."""
    found: Counter[str] = Counter()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(link)
        except OSError:
            continue
        found["catalog" if "catalog.sqlite" in target else target.split(":")[0]] += 1
    return found


def left_behind(port: int, pid: int, before: Counter[str], clients: int) -> list[str]:
    """Return what killed clients left: handles, open replicas, damaged good objects."""
    deadline = time.monotonic() + 30
    while True:  # until the server has noticed the last kills
        now = handles(pid)
        # Connections to the catalog are kept for reuse: one per client that was busy at a time.
        catalog = now.pop("catalog", 0)
        if now.total() <= sum(n for k, n in before.items() if k != "catalog"):
            break
        if time.monotonic() > deadline:
            return [f"open files: {now}, before {before}"]
        time.sleep(0.1)
    found = []
    if catalog > 3 * (clients + 4):
        found.append(f"{catalog} open files of the catalog")
    worker = Worker(port, 0)
    answer = worker.client.ask(
        Api.GEN_QUERY_AN, query([501, 403, 404, 413], {501: f"like '{HOME}%'"})
    )
    columns = [c.all("value") for c in parse(answer.body).children if c.all("value")]
    for collection, name, number, status in zip(*columns, strict=True):
        path = f"{collection}/{name}"
        if status not in ("0", "1"):
            found.append(f"{path} replica {number} has status {status}")
        if status == "1":
            data = worker.about(Api.DATA_OBJ_GET_AN, path, replNum=number).byte_stream
            if not whole(data):
                found.append(f"{path} replica {number} is good and not whole")
    worker.client.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--operations", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    a = parser.parse_args()
    print(f"seed {a.seed}", flush=True)
    root = Path(tempfile.mkdtemp(prefix="zone-soak-"))
    try:
        found = soak(a.operations, a.clients, root, a.seed)
    finally:
        shutil.rmtree(root)
    for kind, count in Counter(found).most_common(50):
        print(f"{count:6} {kind}")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
