"""Probe: does a zone do what pacsgrid needs of it? Bytes are moved both ways, and timed."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import irods.keywords as kw
from irods.exception import SYS_NO_API_PRIV

from pacsgrid.errors import ZoneError
from pacsgrid.grid.catalog import GOOD, replicas_below
from pacsgrid.grid.deposit import remove_object
from pacsgrid.grid.irods_requests import get_buffer, put_buffer, stored_checksum
from pacsgrid.grid.layout import ensure_collection
from pacsgrid.grid.zone import Zone, bytes_checksum, translated_errors

SIZE = 1 << 20


@dataclass(frozen=True)
class ProbeResult:
    """Seconds to put, verify and get a mebibyte, how many replicas it got, and the account.

    ``administrator`` tells whether storage can be read without the catalog and bad replicas be
    marked; without it verification takes one catalog operation an object.
    """

    put_seconds: float
    verify_seconds: float
    get_seconds: float
    replicas: int
    administrator: bool


def probe(zone: Zone, project: str) -> ProbeResult:
    """Put an object of random bytes, let the zone verify it, get it back, remove it.

    Raises
    ------
    ZoneUnavailableError
        The zone does not answer in time: listing may work while transfers hang.
    ZoneError
        It refused, gave back other bytes, or made fewer good replicas than its policy asks for.
    """
    name, data = zone.settings.name, os.urandom(SIZE)
    room = f"/{name}/home/{project}/.probe"
    path = f"{room}/{os.urandom(8).hex()}"
    ensure_collection(zone, room)
    try:
        with translated_errors(name):
            start = time.monotonic()
            put_buffer(zone, path, data, bytes_checksum(data))
            put = time.monotonic()
            replicas = replicas_below(zone, f"/{name}/home/{project}").get(path, [])
            verified, administrator = _verified(zone, path, data)
            checked = time.monotonic()
            back = get_buffer(zone, path, SIZE)
            got = time.monotonic()
    finally:
        remove_object(zone, path)
    if back != data or not verified:
        raise ZoneError(f"zone {name}: a probe did not come back as it was put")
    good = sum(replica.status == GOOD for replica in replicas)
    if good < zone.settings.copies:
        raise ZoneError(
            f"zone {name}: {good} replicas on {zone.settings.resource}, {zone.settings.copies} "
            "asked for; look at the resource tree"
        )
    return ProbeResult(put - start, checked - put, got - checked, good, administrator)


def _verified(zone: Zone, path: str, data: bytes) -> tuple[bool, bool]:
    found = replicas_below(zone, path.rsplit("/", 2)[0])[path]
    try:
        sums = {stored_checksum(zone, path, r.resource, r.file, SIZE) for r in found}
    except SYS_NO_API_PRIV:
        options = {kw.FORCE_CHKSUM_KW: ""}
        return zone.session.data_objects.chksum(path, **options) == bytes_checksum(data), False
    return sums == {bytes_checksum(data)}, True
