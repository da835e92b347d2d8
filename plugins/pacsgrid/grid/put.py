"""One object into a zone: in one message when it is small, in parallel streams when it is not."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

import irods.keywords as kw
from irods.exception import CAT_NO_CHECKSUM_FOR_REPLICA, USER_CHKSUM_MISMATCH

from pacsgrid.disk import sha256_of
from pacsgrid.errors import ZoneError, ZoneUnavailableError
from pacsgrid.grid.irods_requests import SINGLE_BUFFER, put_buffer
from pacsgrid.grid.layout import InstanceInfo
from pacsgrid.grid.zone import Zone, irods_checksum

CHUNK = 4 << 20
# Parallel streams for one large object; more do not help against one storage.
STREAMS = 4
_D_contra = TypeVar("_D_contra", bound=InstanceInfo, contravariant=True)


class Opener(Protocol[_D_contra]):
    """Gives an instance's bytes: the file that holds them, or an open stream."""

    def __call__(self, one: _D_contra, /) -> Path | BinaryIO: ...


def read_all(opener: Opener[_D_contra], one: _D_contra) -> bytes:
    """Return the bytes of a small instance."""
    source = opener(one)
    if isinstance(source, Path):
        return source.read_bytes()
    with source:
        return b"".join(iter(lambda: source.read(CHUNK), b""))


def put_object(zone: Zone, path: str, one: _D_contra, opener: Opener[_D_contra]) -> None:
    """Put a new object with its checksum computed on both sides and registered.

    Raises
    ------
    ZoneError
        What we read is not what the anonymiser made.
    ZoneUnavailableError
        What arrived is not what we sent.
    """
    if one.size <= SINGLE_BUFFER:
        data = read_all(opener, one)
        try:
            put_buffer(zone, path, data, irods_checksum(one.sha256))
        except USER_CHKSUM_MISMATCH:
            raise _mismatch(zone, path, hashlib.sha256(data).hexdigest() == one.sha256) from None
        return
    source = opener(one)
    options = {kw.REG_CHKSUM_KW: "", kw.DEST_RESC_NAME_KW: zone.settings.resource}
    if isinstance(source, Path):
        zone.session.data_objects.put(
            str(source), path, num_threads=STREAMS, allow_redirect=False, **options
        )
    else:
        with (
            source,
            zone.session.data_objects.open(path, "w", allow_redirect=False, **options) as target,
        ):
            while chunk := source.read(CHUNK):
                target.write(chunk)
    try:
        checksum = zone.session.data_objects.chksum(path)
    except CAT_NO_CHECKSUM_FOR_REPLICA:
        checksum = ""
    if checksum != irods_checksum(one.sha256):
        ours = not isinstance(source, Path) or sha256_of(source) == one.sha256
        raise _mismatch(zone, path, ours)


def _mismatch(zone: Zone, path: str, sent_well: bool) -> Exception:
    if sent_well:
        return ZoneUnavailableError(f"zone {zone.settings.name}: {path} arrived damaged")
    return ZoneError(
        f"{path.rsplit('/', 1)[1]} changed since it left the anonymiser; nothing was put under "
        "its name, send the study on its way again"
    )
