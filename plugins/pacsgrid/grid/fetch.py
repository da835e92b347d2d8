"""Fetch: objects out of a zone, in parallel, each proven before it bears its name on disk."""

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
from pacsgrid.grid.put import CHUNK
from pacsgrid.grid.zone import Zone, hex_checksum, translated_errors

PARTIAL = ".part"
CONNECTIONS = 8


@dataclass(frozen=True)
class StoredObject:
    """An object as its zone has it; `sha256` is empty where no checksum is registered."""

    path: str
    size: int
    sha256: str
    replicas: tuple[int, ...] = ()


@dataclass
class FetchReport:
    """Objects fetched, objects that were here and proven, bytes, and objects that are bad."""

    fetched: int = 0
    skipped: int = 0
    bytes: int = 0
    bad: list[str] = field(default_factory=list)


def fetch(
    zone: Zone,
    path: str,
    target: Path,
    connections: int = CONNECTIONS,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> FetchReport:
    """Fetch a collection, or one object, with everything below it into a directory.

    Run again after an interruption it fetches what is missing; a large object goes on where it
    was cut. An object whose checksum differs is fetched from its other replicas, and reported
    when none is right; nothing wrong is left under its name.

    Parameters
    ----------
    progress
        Called with the bytes done and the bytes in total.

    Raises
    ------
    ZoneError
        There is nothing of that name, or no right to read it.
    ZoneUnavailableError
        The zone dropped the connection; run again.
    """
    objects = {one: _place(target, path, one.path) for one in stored_below(zone, path)}
    if not objects:
        raise ZoneError(f"{path}: no such collection or object, or no right to read it")
    return fetch_all(zone, objects, connections, progress)


def fetch_release(
    zone: Zone,
    path: str,
    target: Path,
    connections: int = CONNECTIONS,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> FetchReport:
    """Fetch a version of a release: its documents, and every object that its manifest lists.

    Objects are compared with the manifest's checksums; otherwise as `fetch`.
    """
    report = fetch(zone, path, target, connections)
    try:
        manifest = json.loads((target / "manifest.json").read_text())
        listed = {
            StoredObject(
                f"{path.split('/releases/')[0]}/{one['path']}", one["size"], one["sha256"]
            ): one
            for one in manifest["objects"]
        }
    except (OSError, ValueError, KeyError, TypeError):
        raise ZoneError(f"{path}: no release; give the collection of one of its versions") from None
    objects = {one: _place(target, "", f"/{what['path']}") for one, what in listed.items()}
    inside = fetch_all(zone, objects, connections, progress)
    return FetchReport(
        report.fetched + inside.fetched,
        report.skipped + inside.skipped,
        report.bytes + inside.bytes,
        report.bad + inside.bad,
    )


def fetch_all(
    zone: Zone,
    objects: Mapping[StoredObject, Path],
    connections: int = CONNECTIONS,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> FetchReport:
    """Fetch objects, each to its own place; otherwise as `fetch`."""
    report, lock = FetchReport(), Lock()
    total, done = sum(one.size for one in objects), 0

    def work(item: tuple[StoredObject, Path]) -> None:
        nonlocal done
        one, place = item
        there = place.exists() and sha256_of(place) == one.sha256 != ""
        right = there or _fetch_one(zone, one, place)
        with lock:
            done += one.size
            if not right:
                report.bad.append(one.path)
            elif there:
                report.skipped += 1
            else:
                report.fetched += 1
                report.bytes += one.size
            progress(done, total)

    zone.run_parallel(work, objects.items(), connections)
    return report


def stored_below(zone: Zone, path: str) -> Iterator[StoredObject]:
    """Yield the objects that are a path or lie below it, with their good replicas."""
    parent, _, name = path.rpartition("/")
    found: dict[str, list[tuple[int, int, str]]] = {}
    for criteria in (
        [Collection.name == path],
        [Like(Collection.name, f"{path}/%")],
        [Collection.name == parent, DataObject.name == name],
    ):
        columns = (
            Collection.name,
            DataObject.name,
            DataObject.size,
            DataObject.checksum,
            DataObject.replica_number,
        )
        for row in zone.rows(columns, DataObject.replica_status == GOOD, *criteria):
            found.setdefault(f"{row[Collection.name]}/{row[DataObject.name]}", []).append(
                (
                    int(row[DataObject.replica_number]),
                    int(row[DataObject.size]),
                    hex_checksum(row[DataObject.checksum]),
                )
            )
    for where, replicas in found.items():
        # A checksum that only some replicas have is the one they all should have.
        sha256 = next((digest for _, _, digest in sorted(replicas) if digest), "")
        numbers = tuple(number for number, _, _ in sorted(replicas))
        yield StoredObject(where, max(size for _, size, _ in replicas), sha256, numbers)


def get_document(zone: Zone, path: str) -> bytes | None:
    """Return a small document; None when it is not there.

    Raises
    ------
    ZoneError
        None of its replicas can be read with the checksum that is registered.
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
    raise ZoneError(f"{path} no longer has its checksum in {zone.settings.name}; verify it")


def get_head(zone: Zone, path: str, size: int) -> bytes:
    """Return the first bytes of an object, at most `size`; what they are is not proven."""
    with (
        translated_errors(zone.settings.name),
        zone.session.data_objects.open(path, "r", allow_redirect=False) as stream,
    ):
        return bytes(stream.read(size))


def _place(target: Path, root: str, path: str) -> Path:
    inside = path.removeprefix(f"{root}/") if path != root else path.rsplit("/", 1)[1]
    parts = inside.split("/")
    if ".." in parts or "." in parts:
        raise ZoneError(f"{path}: not a name for a file")
    return target.joinpath(*parts)


def _fetch_one(zone: Zone, one: StoredObject, place: Path) -> bool:
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(place.name + PARTIAL)
    for number in _attempts(zone, one):
        try:
            with translated_errors(zone.settings.name):
                digest, size = _bring(zone, one, partial, number)
        except ZoneError:
            continue  # this replica cannot be read
        if one.sha256 in ("", digest) and size == one.size:
            os.replace(partial, place)
            return True
        partial.unlink()
    return False


def _bring(zone: Zone, one: StoredObject, partial: Path, number: int | None) -> tuple[str, int]:
    """Read a replica into a file; returns the SHA-256 and the size of what is there."""
    if one.size > SINGLE_BUFFER:
        _stream(zone, one, partial, number)
        return sha256_of(partial), partial.stat().st_size
    data = get_buffer(zone, one.path, one.size, number)
    partial.write_bytes(data)
    return hashlib.sha256(data).hexdigest(), len(data)


def _attempts(zone: Zone, one: StoredObject) -> Iterator[int | None]:
    """First whichever replica the server prefers, then each of them."""
    yield None
    if one.size > SINGLE_BUFFER:
        yield None  # the first went on where an earlier run was cut, perhaps from something else
    yield from one.replicas or (n for s in stored_below(zone, one.path) for n in s.replicas)


def _stream(zone: Zone, one: StoredObject, partial: Path, number: int | None) -> None:
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
