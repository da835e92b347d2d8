"""Read objects from the nearest zone with a good replica, or from another if that fails.

A small object is read whole and compared with its checksum before its first byte is given. A
large one comes in pieces, and goes on at the same byte from the next replica or zone when one
fails in the middle.
"""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from threading import Lock

import irods.keywords as kw

from pacsgrid.errors import PacsgridError, ZoneError, ZoneUnavailableError
from pacsgrid.gateway.zone_pool import ZonePool
from pacsgrid.grid import Zone
from pacsgrid.grid.fetch import stored_below
from pacsgrid.grid.irods_requests import get_buffer
from pacsgrid.grid.zone import translated_errors

log = logging.getLogger(__name__)

CHUNK = 4 << 20
# Objects up to this size (bytes) are verified before any of them is returned.
SMALL = 32 << 20
AHEAD = 6


@dataclass(frozen=True)
class StoredInstance:
    """An instance that a user may read.

    Attributes
    ----------
    place
        Its series' collection below ``/<zone>/home/``.
    zones
        The mask of zones where a good replica may be read.
    sop_class, syntax
        Its SOP Class UID and the Transfer Syntax UID that it is stored in; may be empty.
    """

    study: str
    series: str
    sop: str
    place: str
    sha256: str
    size: int
    zones: int
    sop_class: str = ""
    syntax: str = ""
    frames: int = 1

    def path(self, zone: str) -> str:
        """Return the path of its data object in a zone."""
        return f"/{zone}/home/{self.place}/{self.sop}.dcm"


class ObjectReader:
    """Reads instances from the zones; safe for any number of threads."""

    def __init__(self, pool: ZonePool) -> None:
        self._pool = pool
        self._bad: set[tuple[str, int]] = set()
        self._lock = Lock()

    def read(self, instance: StoredInstance) -> bytes:
        """Return an instance's file, verified by its checksum.

        Raises
        ------
        ZoneUnavailableError
            No zone that has it answers.
        ZoneError
            No replica has its checksum.
        """
        if instance.size > SMALL:
            return b"".join(self.stream(instance))
        away = False
        for zone in self._zones(instance):
            try:
                data = self._pool.run(zone, lambda client: self._whole(client, instance))
            except PacsgridError as error:
                log.warning("%s", error)
                away = away or isinstance(error, ZoneUnavailableError)
                continue
            if data is not None:
                return data
        raise _nothing(instance, away)

    def stream(self, instance: StoredInstance, start: int = 0) -> Iterator[bytes]:
        """Yield an instance's file in pieces; errors as of `read`.

        A large object is verified while it is read. If its bytes are wrong, a ZoneError comes in
        place of the last piece, and the caller must not present the file as complete.

        Parameters
        ----------
        instance
            The instance.
        start
            First byte to return.

        Yields
        ------
        bytes
            Pieces of up to 4 MiB.
        """
        if instance.size <= SMALL:
            data = self.read(instance)
            for at in range(start, len(data), CHUNK):
                yield data[at : at + CHUNK]
            return
        yield from self._pieces(instance, start)

    def many(
        self, instances: Iterable[StoredInstance]
    ) -> Iterator[tuple[StoredInstance, Iterator[bytes]]]:
        """Yield instances with their files in order; small ones are fetched ahead."""
        with ThreadPoolExecutor(AHEAD) as pool:
            waiting: deque[tuple[StoredInstance, Future[bytes] | None]] = deque()

            def content_of(
                instance: StoredInstance, coming: Future[bytes] | None
            ) -> Iterator[bytes]:
                if coming is None:
                    yield from self.stream(instance)
                else:
                    yield coming.result()

            try:
                for instance in instances:
                    small = instance.size <= SMALL
                    waiting.append((instance, pool.submit(self.read, instance) if small else None))
                    if len(waiting) >= AHEAD:
                        first = waiting.popleft()
                        yield first[0], content_of(*first)
                while waiting:
                    first = waiting.popleft()
                    yield first[0], content_of(*first)
            finally:
                for _, coming in waiting:
                    if coming:
                        coming.cancel()

    def _zones(self, instance: StoredInstance) -> Iterator[Zone]:
        for zone, served_zone in self._pool.all_zones():
            if served_zone.bit & instance.zones:
                yield zone

    def _whole(self, zone: Zone, instance: StoredInstance) -> bytes | None:
        """Read the replica that the server prefers, then each; None if none has the right bytes."""
        path = instance.path(zone.settings.name)

        def get(number: int | None) -> bytes | None:
            with translated_errors(zone.settings.name):
                data = get_buffer(zone, path, instance.size, number)
            return data if hashlib.sha256(data).hexdigest() == instance.sha256 else None

        try:
            data = get(None)
        except ZoneError as error:
            log.warning("%s", error)
            data = None
        if data is not None:
            return data
        log.warning(
            "zone %s: the bytes of %s differ from its checksum; trying each replica",
            zone.settings.name,
            path,
        )
        for number in self._replicas(zone, path):
            with suppress(ZoneError):
                data = get(number)
                if data is not None:
                    return data
        return None

    @staticmethod
    def _replicas(zone: Zone, path: str) -> tuple[int, ...]:
        return tuple(n for stored in stored_below(zone, path) for n in stored.replicas)

    def _pieces(self, instance: StoredInstance, start: int) -> Iterator[bytes]:
        digest = hashlib.sha256() if start == 0 else None
        at, used = start, []
        away: set[str] = set()
        for zone, number in self._attempts(instance):
            if zone.settings.name in away:
                continue
            path = instance.path(zone.settings.name)
            used.append((path, number))
            try:
                with (
                    translated_errors(zone.settings.name),
                    zone.session.data_objects.open(
                        path, "r", allow_redirect=False, **{kw.REPL_NUM_KW: str(number)}
                    ) as source,
                ):
                    source.seek(at)
                    while at < instance.size and (
                        piece := source.read(min(CHUNK, instance.size - at))
                    ):
                        at += len(piece)
                        if digest:
                            digest.update(piece)
                        if digest and at == instance.size and digest.hexdigest() != instance.sha256:
                            break
                        yield piece
            except PacsgridError as error:
                log.warning("%s, replica %d, failed at byte %d: %s", path, number, at, error)
                if isinstance(error, ZoneUnavailableError):
                    away.add(zone.settings.name)
                    self._pool.mark_away(zone.settings.name)
            if at == instance.size:
                if digest and digest.hexdigest() != instance.sha256:
                    with self._lock:
                        self._bad.update(used)
                    raise ZoneError(
                        f"the bytes of {path} differ from its checksum; verify the study"
                    )
                return
        raise _nothing(instance, bool(away))

    def _attempts(self, instance: StoredInstance) -> Iterator[tuple[Zone, int]]:
        """Yield the replicas of a large object, known bad ones last."""
        worse: list[tuple[Zone, int]] = []
        for zone in self._zones(instance):
            path = instance.path(zone.settings.name)
            try:
                numbers = self._pool.run(zone, partial(self._replicas, path=path))
            except PacsgridError as error:
                log.warning("%s", error)
                continue
            zone = self._pool.zone(zone.settings.name)
            for number in numbers:
                if (path, number) in self._bad:
                    worse.append((zone, number))
                else:
                    yield zone, number
        yield from worse


def _nothing(instance: StoredInstance, away: bool) -> PacsgridError:
    if away:
        return ZoneUnavailableError(
            f"instance {instance.sop}: no zone that has it answers; try again"
        )
    return ZoneError(f"instance {instance.sop}: no replica has its checksum; verify the study")
