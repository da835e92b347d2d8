"""Copies in partner zones: objects of their own there, read from home and proven on the way."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from typing import BinaryIO

from pacsgrid.errors import ZoneError
from pacsgrid.grid.deposit import CONNECTIONS, put_missing
from pacsgrid.grid.layout import InstanceInfo, object_path
from pacsgrid.grid.put import CHUNK, Opener
from pacsgrid.grid.zone import Zone, translated_errors


class _Proven(io.RawIOBase):
    """Reads an object and refuses its end when the bytes were not the expected ones."""

    def __init__(self, home: Zone, path: str, sha256: str) -> None:
        self._path, self._sha256, self._digest = path, sha256, hashlib.sha256()
        self._home = home.settings.name
        with translated_errors(self._home):
            self._source = home.session.data_objects.open(path, "r", allow_redirect=False)

    def read(self, size: int = -1) -> bytes:
        with translated_errors(self._home):
            chunk: bytes = self._source.read(CHUNK if size < 0 else size)
        self._digest.update(chunk)
        if not chunk and self._digest.hexdigest() != self._sha256:
            raise ZoneError(f"{self._path} no longer has its checksum in {self._home}; verify it")
        return chunk

    def close(self) -> None:
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
    """Copy what the partner lacks of a study; returns how many objects.

    Raises
    ------
    ConflictError, ZoneUnavailableError, ZoneError
        As in `deposit`; ZoneError too when the home copy does not have its checksum any more.
    """
    return put_missing(partner, project, instances, zone_opener(home, project), connections).put


def zone_opener(zone: Zone, project: str) -> Opener[InstanceInfo]:
    """Read instances from a zone; a read fails at its end when the bytes are not ours."""

    def opener(one: InstanceInfo) -> BinaryIO:
        path = object_path(zone.settings.name, project, one)
        return _Proven(zone, path, one.sha256)  # type: ignore[return-value]

    return opener
