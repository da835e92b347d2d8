"""Put many small objects as one tar file that the server unpacks, as ``ibun -x`` does.

A bundle takes five round trips for dozens of objects, and one more for the checksum of each. It
does not save what the server spends on each object in any case: registration and replication,
tens of milliseconds on a real zone.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from typing import TypeVar

from pacsgrid.grid.irods_requests import SINGLE_BUFFER, put_buffer, unpack
from pacsgrid.grid.layout import InstanceInfo
from pacsgrid.grid.put import Opener, read_all
from pacsgrid.grid.zone import Zone, bytes_checksum

# Bytes: larger objects gain nothing from a bundle.
SMALL = 4 << 20
# Fewer objects than this are not worth a bundle.
FEW = 8
# Bytes of an empty tar file.
_BLOCK = 10240
# Bytes that tar adds to a member: a header of 512 (1536 with a long name) and padding.
_MEMBER = 2560
_I = TypeVar("_I", bound=InstanceInfo)


def put_bundles(
    zone: Zone, study: str, todo: Mapping[str, _I], opener: Opener[_I], connections: int
) -> dict[str, _I]:
    """Put the small objects of a study in bundles.

    Parameters
    ----------
    zone
        The zone that receives them.
    study
        The study's collection; bundles are unpacked into it.
    todo
        The instances to put, by object path.
    opener
        Returns the bytes of an instance: a file, or an open stream.
    connections
        How many connections to use at once.

    Returns
    -------
    dict
        The instances that are left to put one by one, by object path.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    small = {path: one for path, one in todo.items() if one.size <= SMALL}
    if len(small) < FEW:
        return dict(todo)

    def put(item: tuple[int, dict[str, _I]]) -> None:
        number, members = item
        data = _tar(study, members, opener)
        incoming = next(iter(members)).rsplit("/", 1)[0]
        tar = f"{incoming}/bundle{number}.tar"
        put_buffer(zone, tar, data, bytes_checksum(data), "tar file")
        unpack(zone, tar, study)
        zone.session.data_objects.unlink(tar, force=True)

    # The server unpacks one bundle after another on a connection, so every connection gets one.
    share = sum(one.size for one in small.values()) // connections
    limit = min(SINGLE_BUFFER, max(SMALL, share) + _MEMBER)
    zone.run_parallel(put, enumerate(_bundles(small, limit)), connections)
    return {path: one for path, one in todo.items() if path not in small}


def _bundles(small: Mapping[str, _I], limit: int) -> Iterator[dict[str, _I]]:
    """Split instances into groups whose tar files have at most `limit` bytes."""
    bundle: dict[str, _I] = {}
    size = _BLOCK
    for path, one in small.items():
        cost = one.size + _MEMBER
        if bundle and size + cost > limit:
            yield bundle
            bundle, size = {}, _BLOCK
        bundle[path] = one
        size += cost
    if bundle:
        yield bundle


def _tar(study: str, members: Mapping[str, _I], opener: Opener[_I]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path, one in members.items():
            info = tarfile.TarInfo(path.removeprefix(f"{study}/"))
            data = read_all(opener, one)
            info.size, info.mode = len(data), 0o600
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()
