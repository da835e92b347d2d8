"""Probe a zone: move bytes both ways, and time what pacsgrid needs of it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import irods.keywords as kw
from irods.exception import SYS_NO_API_PRIV

from pacsgrid.errors import ZoneError
from pacsgrid.grid.catalog import GOOD, replicas_below
from pacsgrid.grid.irods_requests import get_buffer, put_buffer, stored_checksum
from pacsgrid.grid.layout import ensure_collection
from pacsgrid.grid.remove import remove_object
from pacsgrid.grid.zone import Zone, bytes_checksum, translated_errors

# Bytes of the probe object.
SIZE = 1 << 20


@dataclass(frozen=True)
class ProbeResult:
    """How a zone handled an object of one mebibyte.

    Attributes
    ----------
    put_seconds, verify_seconds, get_seconds
        How long each took.
    replicas
        How many good replicas the zone made.
    administrator
        Whether the account is a rodsadmin. Only then can storage be read without the catalog,
        and bad replicas be marked; otherwise verification takes one catalog operation an object.
    """

    put_seconds: float
    verify_seconds: float
    get_seconds: float
    replicas: int
    administrator: bool


def probe(zone: Zone, project: str) -> ProbeResult:
    """Put an object of random bytes, let the zone verify it, get it back, remove it.

    Parameters
    ----------
    zone
        The zone.
    project
        The project whose collection the object is put below.

    Returns
    -------
    ProbeResult
        The times, the number of replicas, and what the account may do.

    Raises
    ------
    ZoneUnavailableError
        The zone does not answer in time. Listing may work while transfers hang.
    ZoneError
        It refused, returned other bytes, or made fewer good replicas than its policy asks for.
    """
    name, data = zone.settings.name, os.urandom(SIZE)
    collection = f"/{name}/home/{project}/.probe"
    path = f"{collection}/{os.urandom(8).hex()}"
    ensure_collection(zone, collection)
    try:
        with translated_errors(name):
            start = time.monotonic()
            put_buffer(zone, path, data, bytes_checksum(data))
            put = time.monotonic()
            replicas = replicas_below(zone, f"/{name}/home/{project}").get(path, [])
            verified, administrator = _verify(zone, path, data)
            checked = time.monotonic()
            back = get_buffer(zone, path, SIZE)
            got = time.monotonic()
    finally:
        remove_object(zone, path)
    if back != data or not verified:
        raise ZoneError(
            f"zone {name}: an object came back with other bytes; look at its disks and network"
        )
    good = sum(replica.status == GOOD for replica in replicas)
    if good < zone.settings.copies:
        raise ZoneError(
            f"zone {name}: {good} replicas on {zone.settings.resource}, {zone.settings.copies} "
            "asked for; look at the resource tree"
        )
    return ProbeResult(put - start, checked - put, got - checked, good, administrator)


def _verify(zone: Zone, path: str, data: bytes) -> tuple[bool, bool]:
    """Return whether storage holds the bytes, and whether the account is an administrator's."""
    replicas = replicas_below(zone, path.rsplit("/", 2)[0])[path]
    try:
        sums = {stored_checksum(zone, path, r.resource, r.file, SIZE) for r in replicas}
    except SYS_NO_API_PRIV:
        options = {kw.FORCE_CHKSUM_KW: ""}
        return zone.session.data_objects.chksum(path, **options) == bytes_checksum(data), False
    return sums == {bytes_checksum(data)}, True
