"""Small documents beside the instances: manifests, reports, files of a release."""

from __future__ import annotations

import hashlib

from pacsgrid.errors import ZoneError
from pacsgrid.grid.fetch import stored_below
from pacsgrid.grid.irods_requests import get_buffer, put_buffer
from pacsgrid.grid.layout import PARTIAL
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
