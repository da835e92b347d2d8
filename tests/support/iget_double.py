"""A test double of the iCommands `iget` and `ils`, for machines without them.

It knows only the options that a release's script uses, and speaks to a real zone through
python-irodsclient. `IGET_DOUBLE_HOLD` names a part of a path: in the middle of the first object
below it the double stops until it is killed, so that a test can interrupt a fetch at a known place.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import sys
import time
from pathlib import Path

from irods.exception import iRODSException
from irods.session import iRODSSession
from irods.ticket import Ticket


def install(folder: Path) -> dict[str, str]:
    """Write the commands into a folder; returns the variables with which they are found."""
    folder.mkdir()
    for name in ("iget", "ils"):
        command = folder / name
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -m support.iget_double {name} "$@"\n')
        command.chmod(0o755)
    paths = os.pathsep.join(str(Path(__file__).parents[2] / one) for one in ("tests", "plugins"))
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": paths}


def _session() -> iRODSSession:
    file = Path(os.environ["IRODS_ENVIRONMENT_FILE"])
    given = json.loads(file.read_text())
    if given["irods_user_name"] != "anonymous":
        return iRODSSession(irods_env_file=str(file))
    return iRODSSession(
        host=given["irods_host"],
        port=given["irods_port"],
        user="anonymous",
        password="",
        zone=given["irods_zone_name"],
    )


def _get(session: iRODSSession, path: str, target: Path, replica: str) -> bool:
    """Fetch an object; returns whether it has the registered checksum."""
    options = {"replNum": replica} if replica else {}
    with session.data_objects.open(path, "r", allow_redirect=False, **options) as stream:
        content = stream.read()
    held = os.environ.get("IGET_DOUBLE_HOLD", "")
    if held and held in path:
        target.write_bytes(content[: len(content) // 2])
        while True:
            time.sleep(60)
    target.write_bytes(content)
    registered = session.data_objects.get(path).checksum or ""
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
    return registered in ("", f"sha2:{digest}")


def _get_all(session: iRODSSession, path: str, target: Path) -> bool:
    right = True
    target.mkdir(exist_ok=True)
    found = session.collections.get(path)
    for one in found.data_objects:
        try:
            right = _get(session, one.path, target / one.name, "") and right
        except iRODSException:
            right = False
    return (
        all([_get_all(session, one.path, target / one.name) for one in found.subcollections])
        and right
    )


def main() -> int:
    """Run one command; returns 3 for every fault, as iCommands do."""
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=("iget", "ils"))
    parser.add_argument("path")
    parser.add_argument("target", nargs="?", type=Path, default=Path())
    for flag in ("-K", "-f", "-r"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("-n", default="")
    parser.add_argument("-t", default="")
    given = parser.parse_args()
    name = given.path.rsplit("/", 1)[1]
    target = given.target / name if given.target.is_dir() else given.target
    try:
        with _session() as session:
            if given.t:
                Ticket(session, given.t).supply()
            if given.command == "ils":
                session.collections.get(given.path)
                return 0
            if given.r:
                return 0 if _get_all(session, given.path, target) else 3
            return 0 if _get(session, given.path, target, given.n) else 3
    except iRODSException as error:
        print(f"ERROR: {type(error).__name__} for {given.path}", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main())
