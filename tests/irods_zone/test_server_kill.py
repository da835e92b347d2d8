"""After the server is killed, what it had confirmed is there and no file is stray."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

from irods_zone.api_numbers import Api
from irods_zone.consistency_check import check
from irods_zone.error_codes import ErrorCode
from support.waiting import wait_until
from support.zone_client import WireClient, pairs
from support.zone_soak import made, whole

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
HOME = "/brno/home/rods"


def start(directory: Path) -> tuple[subprocess.Popen[str], int]:
    command = [sys.executable, "-m", "irods_zone", "--zone", "brno", "--port", "0",
               "--dir", str(directory)]  # fmt: skip
    p = subprocess.Popen(command, cwd=PLUGINS, stdout=subprocess.PIPE, text=True)
    assert p.stdout is not None
    return p, int(p.stdout.readline().rsplit(":", 1)[1])


def work(port: int, seed: int, kept: dict[str, bytes], gone: set[str]) -> None:
    """Put objects of its own, overwrite, replicate and remove some, until the server is gone.

    kept: what the server confirmed last, by path; gone: what it confirmed to have removed.
    """
    rng = random.Random(seed)
    client = WireClient(port)

    def about(api: int, path: str, bs: bytes = b"", **keywords: str) -> int:
        return client.ask(api, (
            f"<DataObjInp_PI><objPath>{path}</objPath><createMode>0</createMode><openFlags>2"
            f"</openFlags><dataSize>{len(bs)}</dataSize>{pairs(**keywords)}</DataObjInp_PI>"
        ), bs).int_info  # fmt: skip

    try:
        for n in range(10**6):
            path, data = f"{HOME}/{seed}-{n}", made(rng)
            where = rng.choice(("demoResc", "repl"))
            if (
                about(
                    Api.DATA_OBJ_PUT_AN,
                    path,
                    data,
                    dataIncluded="",
                    regChksum="",
                    destRescName=where,
                )
                == 0
            ):
                kept[path] = data
            if n % 3 == 0:
                about(Api.DATA_OBJ_REPL_AN, path, destRescName="repl")
            if n % 4 == 0:
                old = kept.pop(path)
                if about(Api.DATA_OBJ_UNLINK_AN, path, forceFlag="") == 0:
                    gone.add(path)
                else:
                    kept[path] = old
            if n % 5 == 0:
                about(Api.DATA_OBJ_TRIM_AN, path, copies="1", replNum="0")
    except Exception:
        return  # the server is gone, in the middle of something


def test_server_is_killed_at_work(tmp_path: Path) -> None:
    directory = tmp_path / "z"
    server, port = start(directory)
    admin = WireClient(port)

    def resource(*fields: str) -> None:
        body = "".join(f"<arg{i}>{v}</arg{i}>" for i, v in enumerate((*fields, "", "", "")))
        assert (
            admin.ask(
                Api.GENERAL_ADMIN_AN, f"<generalAdminInp_PI>{body}</generalAdminInp_PI>"
            ).int_info
            == 0
        )

    for leaf in ("leaf1", "leaf2"):
        resource("add", "resource", leaf, "unixfilesystem", f"localhost:/{leaf}")
    resource("add", "resource", "repl", "replication")
    for leaf in ("leaf1", "leaf2"):
        resource("add", "childtoresc", "repl", leaf)
    admin.close()
    kept: dict[str, bytes] = {}
    gone: set[str] = set()
    for turn in range(3):
        threads = [
            threading.Thread(target=work, args=(port, turn * 10 + i, kept, gone)) for i in range(6)
        ]
        for thread in threads:
            thread.start()
        enough = len(kept) + 40
        wait_until(partial(lambda least: len(kept) >= least, enough))
        server.send_signal(signal.SIGKILL)
        server.wait()
        for thread in threads:
            thread.join()
        server, port = start(directory)
    try:
        reader = WireClient(port)
        for path, data in kept.items():
            fd = reader.open(path, os.O_RDONLY)
            assert fd >= 3, (path, fd)
            found = bytes(reader.descriptor(Api.DATA_OBJ_READ_AN, fd, 1 << 20).byte_stream)
            reader.descriptor(Api.DATA_OBJ_CLOSE_AN, fd)
            assert whole(found)
            assert hashlib.sha256(found).digest() == hashlib.sha256(data).digest()
        for path in gone:
            assert reader.open(path, os.O_RDONLY) == ErrorCode.OBJ_PATH_DOES_NOT_EXIST
        reader.close()
        assert len(kept) >= 100 and gone
    finally:
        server.terminate()
        server.wait()
    assert list(check(directory)) == []
