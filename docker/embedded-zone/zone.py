#!/usr/bin/env python3
"""The embedded zone in its container, in place of iRODS: to try the stack, not for production.

    zone.py serve       makes the zone, or opens the one that is there, and serves it
    zone.py healthy     whether it answers and is set up; 0 or 1

Takes the settings and secrets that docker/irods/zone.py takes. It keeps its catalog in SQLite, has
one process, and does not load rules of the iRODS rule language; access lists hold.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

SECRETS = Path("/run/secrets")
READY = Path("/tmp/pacsgrid-zone-is-set-up")
SERVICE, ADMIN, ROOT, PORT = "pacsgrid", "rods", "pair", 1247
LEAVES = ["disk1", "disk2"]
WARNING = (
    "This is pacsgrid's embedded zone, made to try the stack. It is NOT iRODS and NOT for "
    "production: one process, no rules of its own, no database server. See docs/install.md."
)


def _held(secrets: Path, name: str) -> str:
    return (secrets / name).read_text().strip()


def partners(secrets: Path) -> dict[str, tuple[str, int, str]]:
    """Return host, port and shared key of each partner zone, by its name."""
    return {
        one["zone_name"]: (
            one["catalog_provider_hosts"][0],
            int(one.get("zone_port", PORT)),
            one["negotiation_key"],
        )
        for one in json.loads(_held(secrets, "irods_federation"))
    }


def serve(env: Mapping[str, str], secrets: Path) -> int:
    """Serve the zone until a signal comes; returns the exit status."""
    # Imported here: the health check needs none of it, and runs four times a minute.
    from irods_zone import ZoneServer

    print(f"pacsgrid: {WARNING}", file=sys.stderr, flush=True)
    READY.unlink(missing_ok=True)
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    server = ZoneServer(
        env["PACSGRID_ZONE"],
        Path("/vault"),
        PORT,
        ADMIN,
        _held(secrets, "irods_admin_password"),
        "0.0.0.0",
        partners(secrets),
        (secrets / "irods_certificate", secrets / "irods_key"),
        tls_required=True,
        federate_ca=secrets / "grid_ca",
    )
    server.start()
    try:
        _set_up(env, secrets)
        READY.touch()
        print("pacsgrid: the zone is set up", flush=True)
        done.wait()
    finally:
        server.stop()
    return 0


def _set_up(env: Mapping[str, str], secrets: Path) -> None:
    """Make the service account and the resources, and give the account its password."""
    from irods.access import iRODSAccess
    from irods.exception import UserDoesNotExist
    from pydantic import SecretStr

    from pacsgrid.config import ZoneSettings
    from pacsgrid.grid import Zone
    from pacsgrid.grid.admin import prepare_zone

    settings = ZoneSettings(
        name=env["PACSGRID_ZONE"],
        host=env["PACSGRID_IRODS_HOST"],
        port=PORT,
        user=ADMIN,
        password=SecretStr(_held(secrets, "irods_admin_password")),
        ca_file=secrets / "grid_ca",
    )
    with Zone(settings) as zone:
        users = zone.session.users
        try:
            account = users.get(SERVICE, settings.name)
        except UserDoesNotExist:
            account = users.create(SERVICE, "rodsadmin")
        account.modify("password", _held(secrets, "irods_service_password"))
        # An administrator, too, makes projects' collections only where it may write.
        zone.session.acls.set(
            iRODSAccess("write", f"/{settings.name}/home", SERVICE, settings.name)
        )
        prepare_zone(zone, {ROOT: LEAVES}, "/vault")


def healthy(env: Mapping[str, str]) -> int:
    """Return 0 if the zone is set up and answers a heartbeat, else 1."""
    head = b"<MsgHeader_PI><type>HEARTBEAT</type><msgLen>0</msgLen><errorLen>0</errorLen>"
    head += b"<bsLen>0</bsLen><intInfo>0</intInfo></MsgHeader_PI>"
    try:
        with socket.create_connection((env["PACSGRID_IRODS_HOST"], PORT), timeout=5) as connection:
            connection.sendall(len(head).to_bytes(4, "big") + head)
            answered = connection.recv(64).startswith(b"HEARTBEAT")
    except OSError:
        answered = False
    return 0 if READY.exists() and answered else 1


def main(arguments: Sequence[str]) -> int:
    """Read the command line."""
    command = arguments[0] if arguments else "serve"
    if command == "healthy":
        return healthy(os.environ)
    if command == "serve":
        return serve(os.environ, SECRETS)
    print(f"zone.py: no command {command!r}; there are serve, healthy", file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
