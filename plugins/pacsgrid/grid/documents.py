"""Small documents beside the instances: manifests, reports, files of a release."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pacsgrid.disk import sha256_of
from pacsgrid.errors import ZoneError
from pacsgrid.grid.fetch import stored_below
from pacsgrid.grid.irods_requests import SINGLE_BUFFER, get_buffer, put_buffer
from pacsgrid.grid.layout import PARTIAL
from pacsgrid.grid.put import put_large
from pacsgrid.grid.remove import remove_object
from pacsgrid.grid.zone import Zone, bytes_checksum, translated_errors


def put_document(zone: Zone, path: str, data: bytes) -> None:
    """Put a small document; replace the existing one if its content differs.

    Parameters
    ----------
    zone
        The zone.
    path
        The data object.
    data
        The whole content.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    with translated_errors(zone.settings.name):
        objects = zone.session.data_objects
        if objects.exists(path):
            with objects.open(path, "r", allow_redirect=False) as stream:
                if stream.read() == data:
                    return
            remove_object(zone, path)
        remove_object(zone, path + PARTIAL)
        put_buffer(zone, path + PARTIAL, data, bytes_checksum(data))
        objects.move(path + PARTIAL, path)


def put_document_file(zone: Zone, path: str, source: Path) -> None:
    """Put a document of any size from a file; replace the existing one if its content differs.

    Parameters
    ----------
    zone
        The zone.
    path
        The data object.
    source
        The file.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    size = source.stat().st_size
    if size <= SINGLE_BUFFER:
        put_document(zone, path, source.read_bytes())
        return
    sha256 = sha256_of(source)
    known = next(stored_below(zone, path), None)
    if known is not None and known.sha256 == sha256:
        return
    with translated_errors(zone.settings.name):
        if known is not None:
            remove_object(zone, path)
        remove_object(zone, path + PARTIAL)
        put_large(zone, path + PARTIAL, source, sha256)
        zone.session.data_objects.move(path + PARTIAL, path)


def get_document(zone: Zone, path: str) -> bytes | None:
    """Return a small document, checked against its registered checksum.

    Parameters
    ----------
    zone
        The zone.
    path
        The data object.

    Returns
    -------
    bytes or None
        The content; None when there is no such object.

    Raises
    ------
    ZoneError
        No replica can be read with the registered checksum.
    ZoneUnavailableError
        The zone does not answer.
    """
    one = next(stored_below(zone, path), None)
    if one is None:
        return None
    for number in (None, *one.replicas):
        try:
            with translated_errors(zone.settings.name):
                data = get_buffer(zone, path, one.size, number)
        except ZoneError:
            continue
        if one.sha256 in ("", hashlib.sha256(data).hexdigest()):
            return data
    raise ZoneError(
        f"{path}: no replica in zone {zone.settings.name} has the registered checksum; "
        "verify and repair the project's replicas"
    )


def get_head(zone: Zone, path: str, size: int) -> bytes:
    """Return the first bytes of an object, without checking them.

    Parameters
    ----------
    zone
        The zone.
    path
        The data object.
    size
        How many bytes to read at most.

    Returns
    -------
    bytes
        The bytes; fewer than `size` if the object is smaller.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    with (
        translated_errors(zone.settings.name),
        zone.session.data_objects.open(path, "r", allow_redirect=False) as stream,
    ):
        return bytes(stream.read(size))
