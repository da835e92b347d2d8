"""The command ``irods-zone``: run a zone in the foreground, or check one."""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from . import __version__, consistency_check
from .server import ZoneServer

_EPILOG = """\
examples:
  irods-zone                                    tempZone on port 1247, deleted at the end
  irods-zone --zone demo --dir /srv/demo        keep the data; the next start goes on with them
  irods-zone check --dir /srv/demo              compare catalog and vaults, see check --help

The zone accepts connections when it has printed one line with its address. SIGTERM and Ctrl-C
end it. Administrator and password count when the directory is new.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit the process when it ends.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command-line arguments; by default those of the process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["check"]:
        sys.exit(consistency_check.main(words[1:]))
    serve(_parser(), words)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="irods-zone",
        description="Run an iRODS zone for tests in the foreground.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"irods-zone {__version__}")
    zone = parser.add_argument_group("zone")
    zone.add_argument("--zone", default="tempZone", help="name of the zone (default: tempZone)")
    zone.add_argument(
        "--dir", type=Path, metavar="DIR",
        help="where catalog and vaults lie (default: a temporary directory)",
    )  # fmt: skip
    zone.add_argument("--admin", default="rods", help="name of the administrator (default: rods)")
    zone.add_argument(
        "--password", default="rods", help="password of the administrator (default: rods)"
    )
    network = parser.add_argument_group("network")
    network.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)"
    )
    network.add_argument(
        "--port", type=int, default=1247, help="port to listen on, 0 for a free one (default: 1247)"
    )
    network.add_argument(
        "--federate", action="append", default=[], metavar="ZONE=HOST:PORT:KEY",
        help="a zone to federate with, and the key that both share; may be repeated",
    )  # fmt: skip
    tls = parser.add_argument_group("TLS")
    tls.add_argument("--tls-cert", type=Path, metavar="PEM", help="certificate chain: offer TLS")
    tls.add_argument(
        "--tls-key", type=Path, metavar="PEM", help="its private key, if not in the same file"
    )
    tls.add_argument("--tls-required", action="store_true", help="refuse clients without TLS")
    tls.add_argument(
        "--federate-ca", type=Path, metavar="PEM",
        help="authorities of federated zones' certificates: ask their servers over TLS alone",
    )  # fmt: skip
    return parser


def _federation(
    parser: argparse.ArgumentParser, texts: list[str]
) -> dict[str, tuple[str, int, str]]:
    partners: dict[str, tuple[str, int, str]] = {}
    for text in texts:
        zone, _, rest = text.partition("=")
        parts = rest.split(":", 2)
        if len(parts) != 3 or not parts[1].isdigit():
            parser.error(f"--federate {text}: expected ZONE=HOST:PORT:KEY")
        partners[zone] = (parts[0], int(parts[1]), parts[2])
    return partners


def serve(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Serve a zone until SIGTERM or SIGINT comes.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Parser of the options.
    words : sequence of str
        The options.
    """
    options = parser.parse_args(words)
    if (options.tls_key or options.tls_required) and not options.tls_cert:
        parser.error("--tls-key and --tls-required need --tls-cert")
    partners = _federation(parser, options.federate)
    _raise_file_limit()
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    tls = (options.tls_cert, options.tls_key) if options.tls_cert else None
    with nullcontext(options.dir) if options.dir else _temporary() as directory:
        try:
            server = ZoneServer(
                options.zone, directory, options.port, options.admin, options.password,
                options.host, partners, tls, options.tls_required, options.federate_ca,
            )  # fmt: skip
            server.start()
        except (OSError, ValueError) as e:
            sys.exit(f"irods-zone: the zone cannot start: {e}")
        address = f"{options.host}:{server.port}"
        print(f"zone {options.zone} accepts connections on {address}", flush=True)
        done.wait()
        server.stop()


def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="irods-zone-")


def _raise_file_limit() -> None:
    """Allow as many open files as the system does: every connection takes a few."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
