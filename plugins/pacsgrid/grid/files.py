"""Files of any size beside a release: put each whole or not at all, and look for them by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from irods.column import Like
from irods.exception import CAT_NO_CHECKSUM_FOR_REPLICA
from irods.models import Collection, DataObject

from pacsgrid.grid.layout import PARTIAL
from pacsgrid.grid.put import put_object
from pacsgrid.grid.remove import remove_object
from pacsgrid.grid.zone import Zone, irods_checksum, translated_errors


@dataclass(frozen=True)
class _Content:
    """What an object will hold; the identifiers of instances are empty."""

    sha256: str
    size: int
    study_uid: str = ""
    series_uid: str = ""
    sop_uid: str = ""
    subject: str = ""


def put_file(zone: Zone, path: str, file: Path, sha256: str) -> bool:
    """Put a file; replace an object with other content.

    Parameters
    ----------
    zone
        The zone.
    path
        The data object, in a collection that exists.
    file
        The file.
    sha256
        The SHA-256 of its content, in hex.

    Returns
    -------
    bool
        False if the object was there already.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    with translated_errors(zone.settings.name):
        objects = zone.session.data_objects
        if objects.exists(path):
            try:
                if objects.chksum(path) == irods_checksum(sha256):
                    return False
            except CAT_NO_CHECKSUM_FOR_REPLICA:
                pass
            remove_object(zone, path)
        remove_object(zone, path + PARTIAL)
        content = _Content(sha256, file.stat().st_size)
        put_object(zone, path + PARTIAL, content, lambda one: file)
        objects.move(path + PARTIAL, path)
    return True


def names_with(zone: Zone, collection: str, start: str) -> set[str]:
    """Return the names of a collection's objects that begin with a text.

    Parameters
    ----------
    zone
        The zone to ask.
    collection
        The collection; it need not exist.
    start
        How the names begin, without wild cards (``%`` and ``_``).

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    rows = zone.rows(
        (DataObject.name,), Collection.name == collection, Like(DataObject.name, f"{start}%")
    )
    return {str(row[DataObject.name]) for row in rows}
