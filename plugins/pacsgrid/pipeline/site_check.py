"""Site check: does everything that the site file names answer, and is there room to work?

Every check is tried, also after others failed; none changes anything but a probe object that is
written, read back and removed in each zone.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import ssl
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from cryptography import x509

from pacsgrid import grid
from pacsgrid.config import Site, SourceSettings
from pacsgrid.errors import PacsgridError
from pacsgrid.ledger import migrate, owns_its_trail, server_time
from pacsgrid.pacs import open_source

FREE_BYTES, FREE_PART = 20 * 2**30, 0.05
SKEW = timedelta(seconds=30)
EXPIRES_SOON = timedelta(days=30)
ONE_ROLE = (
    "the application's role owns the audit trail and could change it: see pacsgrid ledger --help"
)
_PROBE_SECONDS = 10


@dataclass(frozen=True)
class Check:
    """One thing that was checked; `detail` says what to do when it is not `good`."""

    name: str
    good: bool
    detail: str


class _Failed(Exception):
    """A check's own finding; its text is safe to show."""


def check_site(site: Site) -> list[Check]:
    """Check ledger, keys, rooms, clock, sources, zones and certificates of a site."""
    return [_checked(name, run) for name, run in _checks(site)]


def _checked(name: str, run: Callable[[], str]) -> Check:
    try:
        return Check(name, True, run())
    except (PacsgridError, _Failed) as error:
        return Check(name, False, str(error))
    except Exception as error:
        return Check(name, False, f"fails with {type(error).__name__}")


def _checks(site: Site) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "ledger", partial(_ledger, site.ledger_dsn)
    yield "clock", partial(_clock, site.ledger_dsn)
    for name, project in site.projects.items():
        yield f"key of project {name}", partial(_private, project.key_file)
    for room in (site.staging, site.outbox, site.quarantine):
        yield f"room {room.name}", partial(_room, room)
    for name, source in site.sources.items():
        yield f"source {name}", partial(_source, source)
        if source.cert_file or source.url.startswith("https:"):
            yield f"certificates of source {name}", partial(_certificates, source)
    for name in site.zones:
        yield f"zone {name}", partial(_zone, site, name)


def _ledger(dsn: str) -> str:
    told = f"its schema is version {migrate(dsn)}"
    if owns_its_trail(dsn):
        # It works, as it did; the site decides.
        told += f"; {ONE_ROLE}"
    return told


def _clock(dsn: str) -> str:
    apart = abs(datetime.now(UTC) - server_time(dsn))
    if apart > SKEW:
        raise _Failed(f"{apart.total_seconds():.0f} s apart from the ledger's; set up NTP on both")
    return f"{apart.total_seconds():.1f} s apart from the ledger's"


def _private(path: Path) -> str:
    mode = path.stat().st_mode
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise _Failed(f"{path} can be read by others; chmod 600 {path}")
    return "private"


def _room(room: Path) -> str:
    room.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not os.access(room, os.W_OK | os.X_OK):
        raise _Failed(f"{room} cannot be written by this account")
    usage = shutil.disk_usage(room)
    told = f"{usage.free / 2**30:.0f} GiB free"
    if usage.free < max(FREE_BYTES, usage.total * FREE_PART):
        raise _Failed(f"{told} on the disk of {room}; make room or move it")
    return told


def _source(source: SourceSettings) -> str:
    open_source(source).echo()
    return "answers"


def _certificates(source: SourceSettings) -> str:
    ends: list[datetime] = []
    if source.cert_file:
        content = source.cert_file.read_bytes()
        ends += [c.not_valid_after_utc for c in x509.load_pem_x509_certificates(content)]
    if source.url.startswith("https:"):
        ends.append(_served(source))
    left = min(ends) - datetime.now(UTC)
    if left < EXPIRES_SOON:
        raise _Failed(f"the first ends in {left.days} days; renew it")
    return f"valid for {left.days} days"


def _served(source: SourceSettings) -> datetime:
    host, _, port = source.url.removeprefix("https://").split("/")[0].partition(":")
    context = ssl.create_default_context(cafile=source.ca_file)
    with (
        socket.create_connection((host, int(port or 443)), _PROBE_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        served = secure.getpeercert(binary_form=True) or b""
    return x509.load_der_x509_certificate(served).not_valid_after_utc


def _zone(site: Site, name: str) -> str:
    with grid.Zone(site.zone(name)) as zone:
        zone.ping()
        where = f"/{name}/home/{zone.settings.user}"
        path = f"{where}/.pacsgrid-check-{os.getpid()}-{socket.gethostname()}"
        sent = os.urandom(4096)
        grid.put_document(zone, path, sent)
        try:
            with zone.session.data_objects.open(path, "r") as stream:
                back = stream.read()
        finally:
            zone.session.data_objects.unlink(path, force=True)
    if hashlib.sha256(back).digest() != hashlib.sha256(sent).digest():
        raise _Failed("an object came back with other bytes; look at its disks and network")
    return "an object went there and came back whole"
