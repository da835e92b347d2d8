"""Run a zone in the foreground, or check one: see ``check --help``."""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import threading
from pathlib import Path

from . import check
from .server import ZoneServer


def main() -> None:
    """Parse the arguments, serve until a signal comes."""
    if sys.argv[1:2] == ["check"]:
        sys.exit(check.main(sys.argv[2:]))
    p = argparse.ArgumentParser(prog="python -m irods_zone", description=__doc__)
    p.add_argument("--zone", required=True)
    p.add_argument("--port", type=int, default=1247)
    p.add_argument("--dir", type=Path, required=True)
    p.add_argument("--admin", default="rods")
    p.add_argument("--password", default="rods")
    p.add_argument("--host", default="127.0.0.1")
    p.add_argument("--federate", action="append", default=[], metavar="ZONE=HOST:PORT:KEY")
    p.add_argument("--tls-cert", type=Path, help="certificate chain (PEM); offers TLS")
    p.add_argument("--tls-key", type=Path, help="its key, if it is not in the same file")
    p.add_argument("--tls-required", action="store_true", help="refuse clients without TLS")
    a = p.parse_args()
    if (a.tls_key or a.tls_required) and not a.tls_cert:
        p.error("--tls-key and --tls-required need --tls-cert")
    federate: dict[str, tuple[str, int, str]] = {}
    for text in a.federate:
        zone, _, rest = text.partition("=")
        parts = rest.split(":", 2)
        if len(parts) != 3 or not parts[1].isdigit():
            p.error(f"--federate {text}: expected ZONE=HOST:PORT:KEY")
        federate[zone] = (parts[0], int(parts[1]), parts[2])
    # Every connection takes a few files, and many systems begin with a limit of 1024.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    tls = (a.tls_cert, a.tls_key) if a.tls_cert else None
    with ZoneServer(
        a.zone, a.dir, a.port, a.admin, a.password, a.host, federate, tls, a.tls_required
    ) as server:
        print(f"zone {a.zone} accepts connections on {a.host}:{server.port}", flush=True)
        done.wait()


if __name__ == "__main__":
    main()
