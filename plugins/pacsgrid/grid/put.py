"""Put one object: in one message when it is small, in parallel streams when it is large."""

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

# Bytes read or written at once.
CHUNK = 4 << 20
# Parallel streams for one large object; more do not help against one storage.
STREAMS = 4
_I_contra = TypeVar("_I_contra", bound=InstanceInfo, contravariant=True)


class Opener(Protocol[_I_contra]):
    """Return an instance's bytes: the path of a file that holds them, or an open stream."""

    def __call__(self, one: _I_contra, /) -> Path | BinaryIO:
        """Open one instance."""


def read_all(opener: Opener[_I_contra], one: _I_contra) -> bytes:
    """Return all bytes of a small instance.

    Parameters
    ----------
    opener
        Returns the bytes of an instance: a file, or an open stream.
    one
        The instance.

    Returns
    -------
    bytes
        All of its bytes.
    """
    source = opener(one)
    if isinstance(source, Path):
        return source.read_bytes()
    with source:
        return b"".join(iter(lambda: source.read(CHUNK), b""))


def put_object(zone: Zone, path: str, one: _I_contra, opener: Opener[_I_contra]) -> None:
    """Put a new object; its checksum is computed on both sides and registered.

    Errors of python-irodsclient are not translated.

    Parameters
    ----------
    zone
        The zone that receives it.
    path
        The data object; it must not exist.
    one
        The instance that it will hold.
    opener
        Returns the bytes of the instance: a file, or an open stream.

    Raises
    ------
    ZoneError
        The bytes that were read are not those of the anonymiser.
    ZoneUnavailableError
        The object arrived damaged.
    """
    if one.size <= SINGLE_BUFFER:
        _put_small(zone, path, one, opener)
    else:
        put_large(zone, path, opener(one), one.sha256)


def _put_small(zone: Zone, path: str, one: _I_contra, opener: Opener[_I_contra]) -> None:
    data = read_all(opener, one)
    try:
        put_buffer(zone, path, data, irods_checksum(one.sha256))
    except USER_CHKSUM_MISMATCH:
        raise _mismatch(zone, path, hashlib.sha256(data).hexdigest() == one.sha256) from None


def put_large(zone: Zone, path: str, source: Path | BinaryIO, sha256: str) -> None:
    """Put a new object that is too large for one message; otherwise as `put_object`.

    Parameters
    ----------
    zone
        The zone that receives it.
    path
        The data object; it must not exist.
    source
        A file that holds its bytes, or an open stream of them.
    sha256
        SHA-256 of the bytes, in hex.

    Raises
    ------
    ZoneError
        The bytes that were read are not those that the checksum was taken of.
    ZoneUnavailableError
        The object arrived damaged.
    """
    options = {kw.REG_CHKSUM_KW: "", kw.DEST_RESC_NAME_KW: zone.settings.resource}
    objects = zone.session.data_objects
    if isinstance(source, Path):
        objects.put(str(source), path, num_threads=STREAMS, allow_redirect=False, **options)
    else:
        with source, objects.open(path, "w", allow_redirect=False, **options) as target:
            while chunk := source.read(CHUNK):
                target.write(chunk)
    try:
        checksum = objects.chksum(path)
    except CAT_NO_CHECKSUM_FOR_REPLICA:
        checksum = ""
    if checksum != irods_checksum(sha256):
        # A stream checks its own bytes at its end.
        unchanged = not isinstance(source, Path) or sha256_of(source) == sha256
        raise _mismatch(zone, path, unchanged)


def damaged_on_arrival(zone: Zone, path: str) -> ZoneUnavailableError:
    """Return the error for an object whose checksum in the zone is not ours.

    Parameters
    ----------
    zone
        The zone that received it.
    path
        The data object.

    Returns
    -------
    ZoneUnavailableError
        The error, to be raised.
    """
    return ZoneUnavailableError(
        f"zone {zone.settings.name}: {path} arrived damaged; it is put again with the next try"
    )


def _mismatch(zone: Zone, path: str, sent_unchanged: bool) -> Exception:
    if sent_unchanged:
        return damaged_on_arrival(zone, path)
    return ZoneError(
        f"{path.rsplit('/', 1)[1]} changed after it left the anonymiser; nothing was put under "
        "its name, send the study through the pipeline again"
    )
