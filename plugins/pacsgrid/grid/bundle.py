"""Many small objects as one tar file that the server unpacks, as ``ibun -x`` does.

A bundle takes five round trips for dozens of objects, and one more for the checksum of each. What
the server spends on an object it spends in any case: registration and replication, tens of
milliseconds on a real zone.
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

# Larger objects gain nothing from a bundle; fewer than this are not worth one.
SMALL = 4 << 20
FEW = 8
_BLOCK = 10240
# A tar member is a header of 512 bytes (1536 with a long name) and whole blocks.
_MEMBER = 2560
_D = TypeVar("_D", bound=InstanceInfo)


def put_bundles(
    zone: Zone, study: str, todo: Mapping[str, _D], opener: Opener[_D], connections: int
) -> dict[str, _D]:
    """Put the small ones of `todo` (by object path) in bundles; returns those that are left."""
    small = {path: one for path, one in todo.items() if one.size <= SMALL}
    if len(small) < FEW:
        return dict(todo)

    def put(item: tuple[int, dict[str, _D]]) -> None:
        number, members = item
        data = _tar(study, members, opener)
        incoming = next(iter(members)).rsplit("/", 1)[0]
        tar = f"{incoming}/bundle{number}.tar"
        put_buffer(zone, tar, data, bytes_checksum(data), "tar file")
        unpack(zone, tar, study)
        zone.session.data_objects.unlink(tar, force=True)

    # Every connection is to have a bundle: the server unpacks one after the other on each.
    share = sum(one.size for one in small.values()) // connections
    limit = min(SINGLE_BUFFER, max(SMALL, share) + _MEMBER)
    zone.run_parallel(put, enumerate(_bundles(small, limit)), connections)
    return {path: one for path, one in todo.items() if path not in small}


def _bundles(small: Mapping[str, _D], limit: int) -> Iterator[dict[str, _D]]:
    bundle: dict[str, _D] = {}
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


def _tar(study: str, members: Mapping[str, _D], opener: Opener[_D]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path, one in members.items():
            info = tarfile.TarInfo(path.removeprefix(f"{study}/"))
            data = read_all(opener, one)
            info.size, info.mode = len(data), 0o600
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()
