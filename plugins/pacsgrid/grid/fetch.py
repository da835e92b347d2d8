"""Fetch objects from a zone in parallel; each is checked before it gets its name on disk."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import irods.keywords as kw
from irods.column import Like
from irods.models import Collection, DataObject

from pacsgrid.disk import sha256_of
from pacsgrid.errors import ZoneError
from pacsgrid.grid.catalog import GOOD
from pacsgrid.grid.irods_requests import SINGLE_BUFFER, get_buffer
from pacsgrid.grid.layout import PARTIAL
from pacsgrid.grid.put import CHUNK
from pacsgrid.grid.zone import CONNECTIONS as CONNECTIONS
from pacsgrid.grid.zone import Zone, hex_checksum, translated_errors

Progress = Callable[[int, int], None]


def _no_progress(done: int, total: int) -> None:
    """Ignore progress."""


@dataclass(frozen=True)
class StoredObject:
    """An object as its zone's catalog lists it.

    Attributes
    ----------
    path
        The data object.
    size
        Bytes.
    sha256
        The registered checksum in hex; empty for none.
    replicas
        The numbers of its good replicas.
    """

    path: str
    size: int
    sha256: str
    replicas: tuple[int, ...] = ()


@dataclass
class FetchReport:
    """What a fetch did.

    Attributes
    ----------
    fetched
        Objects that were fetched.
    skipped
        Objects that were on disk already, with the right checksum.
    bytes
        Bytes of the objects fetched.
    bad
        Paths of objects of which no replica has the right checksum.
    """

    fetched: int = 0
    skipped: int = 0
    bytes: int = 0
    bad: list[str] = field(default_factory=list)


def fetch(
    zone: Zone,
    path: str,
    target: Path,
    connections: int = CONNECTIONS,
    progress: Progress = _no_progress,
) -> FetchReport:
    """Fetch an object, or a collection with everything below it, into a directory.

    After an interruption, the same call fetches what is missing; a large object continues where
    it was cut. An object whose checksum differs is fetched from its other replicas, and reported
    as bad when none is right. No wrong file is left under an object's name.

    Parameters
    ----------
    zone
        The zone to fetch from.
    path
        The collection or data object.
    target
        The directory that receives it.
    connections
        How many connections to use at once.
    progress
        Called with the bytes done and the bytes in total.

    Returns
    -------
    FetchReport
        What was fetched, skipped and bad.

    Raises
    ------
    ZoneError
        There is no such collection or object, or the account may not read it.
    ZoneUnavailableError
        The zone dropped the connection; run again.
    """
    objects = {one: _local_path(target, path, one.path) for one in stored_below(zone, path)}
    if not objects:
        raise ZoneError(
            f"{path}: no such collection or object, or {zone.settings.user} may not read it"
        )
    return fetch_all(zone, objects, connections, progress)


def fetch_release(
    zone: Zone,
    path: str,
    target: Path,
    connections: int = CONNECTIONS,
    progress: Progress = _no_progress,
) -> FetchReport:
    """Fetch a version of a release: its documents, and every object that its manifest lists.

    Objects are compared with the manifest's checksums; otherwise as `fetch`.

    Parameters
    ----------
    zone
        The zone to fetch from.
    path
        The collection of the version (``.../releases/NAME/vN``).
    target
        The directory that receives it.
    connections
        How many connections to use at once.
    progress
        Called with the bytes done and the bytes in total, of the listed objects.

    Returns
    -------
    FetchReport
        What was fetched, skipped and bad, documents included.

    Raises
    ------
    ZoneError
        It is not a version of a release, or the account may not read it.
    ZoneUnavailableError
        The zone dropped the connection; run again.
    """
    report = fetch(zone, path, target, connections)
    try:
        manifest = json.loads((target / "manifest.json").read_text())
        root = path.split("/releases/")[0]
        objects = {
            StoredObject(f"{root}/{one['path']}", one["size"], one["sha256"]): _local_path(
                target, "", f"/{one['path']}"
            )
            for one in manifest["objects"]
        }
    except (OSError, ValueError, KeyError, TypeError):
        raise not_a_release(path) from None
    listed = fetch_all(zone, objects, connections, progress)
    return FetchReport(
        report.fetched + listed.fetched,
        report.skipped + listed.skipped,
        report.bytes + listed.bytes,
        report.bad + listed.bad,
    )


def not_a_release(path: str) -> ZoneError:
    """Return the error for a collection without the manifest of a release."""
    return ZoneError(
        f"{path}: not a release; name the collection of a version, as .../releases/NAME/v1"
    )


def fetch_all(
    zone: Zone,
    objects: Mapping[StoredObject, Path],
    connections: int = CONNECTIONS,
    progress: Progress = _no_progress,
) -> FetchReport:
    """Fetch objects, each to its own path; otherwise as `fetch`.

    Parameters
    ----------
    zone
        The zone to fetch from.
    objects
        The file that each object is fetched to.
    connections
        How many connections to use at once.
    progress
        Called with the bytes done and the bytes in total.

    Returns
    -------
    FetchReport
        What was fetched, skipped and bad.

    Raises
    ------
    ZoneUnavailableError
        The zone dropped the connection; run again.
    """
    report, lock = FetchReport(), Lock()
    total, done = sum(one.size for one in objects), 0

    def work(item: tuple[StoredObject, Path]) -> None:
        nonlocal done
        one, file = item
        on_disk = file.exists() and sha256_of(file) == one.sha256 != ""
        right = on_disk or _fetch_one(zone, one, file)
        with lock:
            done += one.size
            if not right:
                report.bad.append(one.path)
            elif on_disk:
                report.skipped += 1
            else:
                report.fetched += 1
                report.bytes += one.size
            progress(done, total)

    zone.run_parallel(work, objects.items(), connections)
    return report


def stored_below(zone: Zone, path: str) -> Iterator[StoredObject]:
    """Yield an object, or the objects in and below a collection, with their good replicas.

    Parameters
    ----------
    zone
        The zone to ask.
    path
        The collection or data object.

    Yields
    ------
    StoredObject
        An object with at least one good replica.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    parent, _, name = path.rpartition("/")
    columns = (
        Collection.name,
        DataObject.name,
        DataObject.size,
        DataObject.checksum,
        DataObject.replica_number,
    )
    found: dict[str, list[tuple[int, int, str]]] = {}
    for criteria in (
        [Collection.name == path],
        [Like(Collection.name, f"{path}/%")],
        [Collection.name == parent, DataObject.name == name],
    ):
        for row in zone.rows(columns, DataObject.replica_status == GOOD, *criteria):
            found.setdefault(f"{row[Collection.name]}/{row[DataObject.name]}", []).append(
                (
                    int(row[DataObject.replica_number]),
                    int(row[DataObject.size]),
                    hex_checksum(row[DataObject.checksum]),
                )
            )
    for where, replicas in found.items():
        # If only some replicas have a checksum registered, it holds for all of them.
        sha256 = next((digest for _, _, digest in sorted(replicas) if digest), "")
        numbers = tuple(number for number, _, _ in sorted(replicas))
        yield StoredObject(where, max(size for _, size, _ in replicas), sha256, numbers)


def _local_path(target: Path, root: str, path: str) -> Path:
    """Return the file below `target` for an object below the collection `root`."""
    inside = path.removeprefix(f"{root}/") if path != root else path.rsplit("/", 1)[1]
    parts = inside.split("/")
    if ".." in parts or "." in parts:
        raise ZoneError(f"{path}: this path cannot be a file's name; nothing was written for it")
    return target.joinpath(*parts)


def _fetch_one(zone: Zone, one: StoredObject, file: Path) -> bool:
    """Fetch an object from the first replica that has the right bytes; return whether any has."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(file.name + PARTIAL)
    for number in _attempts(zone, one):
        try:
            with translated_errors(zone.settings.name):
                digest, size = _read_replica(zone, one, partial, number)
        except ZoneError:
            continue  # this replica cannot be read
        if one.sha256 in ("", digest) and size == one.size:
            os.replace(partial, file)
            return True
        partial.unlink()
    return False


def _read_replica(
    zone: Zone, one: StoredObject, partial: Path, number: int | None
) -> tuple[str, int]:
    """Read a replica into a file; return the SHA-256 and size of the file."""
    if one.size > SINGLE_BUFFER:
        _stream(zone, one, partial, number)
        return sha256_of(partial), partial.stat().st_size
    data = get_buffer(zone, one.path, one.size, number)
    partial.write_bytes(data)
    return hashlib.sha256(data).hexdigest(), len(data)


def _attempts(zone: Zone, one: StoredObject) -> Iterator[int | None]:
    """Yield the replicas to try: first the server's choice (None), then each by its number."""
    yield None
    if one.size > SINGLE_BUFFER:
        # The first attempt may have continued a file that an earlier run left, and it was wrong.
        yield None
    yield from one.replicas or (n for s in stored_below(zone, one.path) for n in s.replicas)


def _stream(zone: Zone, one: StoredObject, partial: Path, number: int | None) -> None:
    """Append to a file what it lacks of a replica."""
    options = {} if number is None else {kw.REPL_NUM_KW: str(number)}
    with (
        zone.session.data_objects.open(one.path, "r", allow_redirect=False, **options) as source,
        partial.open("ab") as target,
    ):
        if target.tell() > one.size:
            target.truncate(0)
        source.seek(target.tell())
        while chunk := source.read(CHUNK):
            target.write(chunk)
