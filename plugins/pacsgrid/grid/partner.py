"""Copy studies to partner zones: new objects there, read from home and checked on the way."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from typing import BinaryIO

from pacsgrid.errors import ZoneError
from pacsgrid.grid.deposit import put_missing
from pacsgrid.grid.layout import InstanceInfo, object_path
from pacsgrid.grid.put import CHUNK, Opener
from pacsgrid.grid.zone import CONNECTIONS, Zone, translated_errors


class CheckedReader(io.RawIOBase):
    """Reads an object; raises ZoneError at its end when the bytes are not the expected ones.

    Parameters
    ----------
    zone
        The zone to read from.
    path
        The data object.
    sha256
        The SHA-256 that its bytes must have, in hex.
    """

    def __init__(self, zone: Zone, path: str, sha256: str) -> None:
        self._path, self._sha256, self._digest = path, sha256, hashlib.sha256()
        self._zone = zone.settings.name
        with translated_errors(self._zone):
            self._source = zone.session.data_objects.open(path, "r", allow_redirect=False)

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes; none at the end, once the checksum is right."""
        with translated_errors(self._zone):
            chunk: bytes = self._source.read(CHUNK if size < 0 else size)
        self._digest.update(chunk)
        if not chunk and self._digest.hexdigest() != self._sha256:
            raise ZoneError(
                f"{self._path}: the replica read from zone {self._zone} has another checksum than "
                "the anonymised file; verify and repair the project's replicas"
            )
        return chunk

    def close(self) -> None:
        """Close the object."""
        if not self.closed:
            self._source.close()
        super().close()


def copy_to_partner(
    home: Zone,
    partner: Zone,
    project: str,
    instances: Sequence[InstanceInfo],
    connections: int = CONNECTIONS,
) -> int:
    """Copy the instances of a study that a partner zone lacks.

    Parameters
    ----------
    home
        The zone to read from.
    partner
        The zone to write to.
    project
        The project's name, in both zones.
    instances
        The instances of one study.
    connections
        How many connections to use at once.

    Returns
    -------
    int
        How many objects were copied.

    Raises
    ------
    ConflictError
        The partner holds an object with the same path and other content.
    ZoneUnavailableError
        A zone does not answer, or an object arrived damaged.
    ZoneError
        A zone refused, or an object in the home zone no longer has its checksum.
    """
    return put_missing(partner, project, instances, zone_opener(home, project), connections).put


def zone_opener(zone: Zone, project: str) -> Opener[InstanceInfo]:
    """Return an opener that reads instances from a zone.

    A read fails at its end with ZoneError when the bytes are not the anonymiser's.

    Parameters
    ----------
    zone
        The zone to read from.
    project
        The project's name.

    Returns
    -------
    Opener
        Opens the data object of an instance for reading.
    """

    def opener(one: InstanceInfo) -> BinaryIO:
        path = object_path(zone.settings.name, project, one)
        return CheckedReader(zone, path, one.sha256)  # type: ignore[return-value]

    return opener
