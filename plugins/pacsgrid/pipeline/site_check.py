"""Check that everything the site file names answers, and that there is enough disk space.

Every check runs, whether or not others failed. None changes anything, except that an object is
written, read back and removed in each zone.
"""

from __future__ import annotations

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
from pacsgrid.config import ProjectSettings, Site, SourceSettings
from pacsgrid.errors import PacsgridError
from pacsgrid.ledger import migrate, owns_its_trail, server_time
from pacsgrid.pacs import open_source
from pacsgrid.registers import PseudonymService, open_consent

# What must be free on the disk of a work folder: bytes, and a part of the whole.
FREE_BYTES, FREE_PART = 20 * 2**30, 0.05
SKEW = timedelta(seconds=30)
EXPIRES_SOON = timedelta(days=30)
ONE_ROLE = (
    "the application's role owns the audit trail and could change it: see pacsgrid ledger --help"
)
_PROBE_SECONDS = 10


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes
    ----------
    name
        What was checked.
    good
        Whether it is as it should be.
    detail
        What was found; if it is not good, what to do.
    """

    name: str
    good: bool
    detail: str


class _CheckFailedError(Exception):
    """What a check found to be wrong; the text identifies no one."""


def check_site(site: Site) -> list[Check]:
    """Check ledger, clock, keys, work folders, sources, certificates and zones of a site."""
    return [_run(name, check) for name, check in _checks(site)]


def _run(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, True, check())
    except (PacsgridError, _CheckFailedError) as error:
        return Check(name, False, str(error))
    except Exception as error:
        return Check(name, False, f"fails with {type(error).__name__}")


def _checks(site: Site) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "ledger", partial(_ledger, site.ledger_dsn)
    yield "clock", partial(_clock, site.ledger_dsn)
    for name, project in site.projects.items():
        yield f"key of project {name}", partial(_key_file, project.key_file)
        if project.subjects.origin == "service":
            yield f"pseudonyms of project {name}", partial(_pseudonyms, project)
        if project.consent.is_asked:
            yield f"consent of project {name}", partial(_consent, project)
    for folder in (site.staging, site.outbox, site.quarantine):
        yield f"work folder {folder.name}", partial(_work_folder, folder)
    for name, source in site.sources.items():
        yield f"source {name}", partial(_source, source)
        if source.cert_file or source.url.startswith("https:"):
            yield f"certificates of source {name}", partial(_certificates, source)
    for name in site.zones:
        yield f"zone {name}", partial(_zone, site, name)


def _ledger(dsn: str) -> str:
    detail = f"its schema is version {migrate(dsn)}"
    if owns_its_trail(dsn):
        # No failure: pacsgrid works with one role, and the site decides.
        detail += f"; {ONE_ROLE}"
    return detail


def _clock(dsn: str) -> str:
    apart = abs(datetime.now(UTC) - server_time(dsn))
    if apart > SKEW:
        raise _CheckFailedError(
            f"{apart.total_seconds():.0f} s apart from the ledger's; set up NTP on both"
        )
    return f"{apart.total_seconds():.1f} s apart from the ledger's"


def _key_file(path: Path) -> str:
    mode = path.stat().st_mode
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise _CheckFailedError(f"{path} can be read by others; run chmod 600 {path}")
    return "private"


def _pseudonyms(project: ProjectSettings) -> str:
    service = PseudonymService(f"projects.{project.name}.subjects", project.subjects)
    try:
        service.ping()
    finally:
        service.close()
    return "the service answers"


def _consent(project: ProjectSettings) -> str:
    source = open_consent(f"projects.{project.name}.consent", project.consent)
    if source is None:
        return "nobody is asked"
    try:
        source.ping()
    finally:
        source.close()
    return f"the {project.consent.origin} answers"


def _work_folder(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _CheckFailedError(
            f"this account cannot write to {folder}; change its owner or its mode"
        )
    usage = shutil.disk_usage(folder)
    free = f"{usage.free / 2**30:.0f} GiB free"
    if usage.free < max(FREE_BYTES, usage.total * FREE_PART):
        raise _CheckFailedError(f"{free} on the disk of {folder}; free some space or move it")
    return free


def _source(source: SourceSettings) -> str:
    open_source(source).echo()
    return "answers"


def _certificates(source: SourceSettings) -> str:
    ends: list[datetime] = []
    if source.cert_file:
        content = source.cert_file.read_bytes()
        ends += [c.not_valid_after_utc for c in x509.load_pem_x509_certificates(content)]
    if source.url.startswith("https:"):
        ends.append(_server_certificate_end(source))
    left = min(ends) - datetime.now(UTC)
    if left < EXPIRES_SOON:
        raise _CheckFailedError(f"the first expires in {left.days} days; renew it")
    return f"valid for {left.days} days"


def _server_certificate_end(source: SourceSettings) -> datetime:
    """Return when the certificate of a DICOMweb server expires."""
    host, _, port = source.url.removeprefix("https://").split("/")[0].partition(":")
    tls = ssl.create_default_context(cafile=source.ca_file)
    with (
        socket.create_connection((host, int(port or 443)), _PROBE_SECONDS) as plain,
        tls.wrap_socket(plain, server_hostname=host) as secure,
    ):
        certificate = secure.getpeercert(binary_form=True) or b""
    return x509.load_der_x509_certificate(certificate).not_valid_after_utc


def _zone(site: Site, name: str) -> str:
    with grid.Zone(site.zone(name)) as zone:
        zone.ping()
        home = f"/{name}/home/{zone.settings.user}"
        path = f"{home}/.pacsgrid-check-{os.getpid()}-{socket.gethostname()}"
        sent = os.urandom(4096)
        grid.put_document(zone, path, sent)
        try:
            with zone.session.data_objects.open(path, "r") as stream:
                back = stream.read()
        finally:
            zone.session.data_objects.unlink(path, force=True)
    if back != sent:
        raise _CheckFailedError(
            "an object came back with other bytes; look at its disks and network"
        )
    return "an object was stored and read back unchanged"
