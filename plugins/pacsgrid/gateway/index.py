"""The index: studies, series and instances of the zones, in one SQLite file.

It only repeats what the zones hold, so a lost index is built again. One process at a time writes;
others read meanwhile (write-ahead log).
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pacsgrid.errors import ConfigError
from pacsgrid.gateway import terms
from pacsgrid.grid.fetch import StoredObject
from pacsgrid.grid.layout import version_suffix
from pacsgrid.pipeline.dicom_json import Json, make_portable
from pacsgrid.pipeline.manifest import Manifest, ManifestEntry
from pacsgrid.uids import is_uid

# 4: versions of studies.
VERSION = 4
# SQLite's application_id of an index that has been filled completely once.
_WHOLE = 0x70616373
_BUSY_SECONDS = 30.0
_SCHEMA = f"""
CREATE TABLE zone (bit INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE study (
    id INTEGER PRIMARY KEY, project TEXT NOT NULL, subject TEXT NOT NULL, uid TEXT NOT NULL,
    patient_id TEXT NOT NULL, date TEXT NOT NULL, version INTEGER NOT NULL,
    UNIQUE (project, subject, uid));
-- Apart from the table above, which is read to skip answers.
CREATE TABLE study_text (id INTEGER PRIMARY KEY REFERENCES study ON DELETE CASCADE,
    attributes TEXT NOT NULL);
CREATE INDEX study_uid ON study (uid);
CREATE INDEX study_patient ON study (patient_id);
CREATE INDEX study_date ON study (date);
CREATE TABLE copy (
    zone INTEGER NOT NULL, study INTEGER NOT NULL REFERENCES study ON DELETE CASCADE,
    manifest TEXT NOT NULL, objects TEXT NOT NULL, PRIMARY KEY (zone, study));
CREATE TABLE series (
    id INTEGER PRIMARY KEY, study INTEGER NOT NULL REFERENCES study ON DELETE CASCADE,
    uid TEXT NOT NULL, place TEXT NOT NULL UNIQUE, attributes TEXT NOT NULL);
CREATE INDEX series_study ON series (study);
CREATE INDEX series_uid ON series (uid);
CREATE TABLE instance (
    id INTEGER PRIMARY KEY, series INTEGER NOT NULL REFERENCES series ON DELETE CASCADE,
    uid TEXT NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL, zones INTEGER NOT NULL,
    attributes TEXT NOT NULL, UNIQUE (series, uid));
CREATE INDEX instance_uid ON instance (uid);
CREATE TABLE tally (
    series INTEGER NOT NULL REFERENCES series ON DELETE CASCADE, zones INTEGER NOT NULL,
    sop_class TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (series, zones, sop_class));
CREATE TABLE metadata (sha256 TEXT PRIMARY KEY, content BLOB NOT NULL);
CREATE INDEX instance_sha256 ON instance (sha256);
CREATE TABLE progress (
    zone INTEGER NOT NULL, project TEXT NOT NULL, through REAL NOT NULL, reconciled REAL NOT NULL,
    PRIMARY KEY (zone, project));
{terms.SCHEMA}
"""
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_DATE, _PATIENT, _CLASS = "00080020", "00100020", "00080016"


@dataclass(frozen=True)
class StudyCopy:
    """A zone's copy of a study when it was last read.

    Attributes
    ----------
    manifest
        The manifest's checksum.
    objects
        Number of good objects by series.
    """

    manifest: str
    objects: Mapping[str, int]


class Index:
    """The index file; each operation opens it, so any thread and process may use it.

    Parameters
    ----------
    path
        The file; an index of another version is replaced.

    Raises
    ------
    ConfigError
        The file cannot be created.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self.lock():
                self._prepare()
        except OSError as error:
            raise ConfigError(f"gateway: index {path}: {error.strerror}") from None

    def _prepare(self) -> None:
        try:
            with self.reading() as db:
                if db.execute("PRAGMA user_version").fetchone()[0] == VERSION:
                    return
        except sqlite3.DatabaseError:
            pass
        for end in ("", "-wal", "-shm"):
            Path(f"{self._path}{end}").unlink(missing_ok=True)
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        with self._connected() as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(f"{_SCHEMA} PRAGMA user_version = {VERSION};")

    @contextmanager
    def lock(self, wait: bool = True) -> Iterator[bool]:
        """Hold the write lock; without `wait`, yield False if another process holds it."""
        handle = os.open(f"{self._path}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            yield True
        finally:
            os.close(handle)

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(
            self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            db.execute("PRAGMA foreign_keys = ON")
            db.execute("PRAGMA synchronous = NORMAL")
            yield db
        finally:
            db.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection whose queries see one snapshot of the index."""
        with self._connected() as db:
            db.execute("BEGIN")
            yield db

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._connected() as db:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")

    # -- used by the refresh ---------------------------------------------------------------

    @property
    def is_complete(self) -> bool:
        """Whether the index has been filled completely once."""
        with self._connected() as db:
            return bool(db.execute("PRAGMA application_id").fetchone()[0])

    def mark_complete(self) -> None:
        """Mark the index as completely filled."""
        with self._connected() as db:
            db.execute(f"PRAGMA application_id = {_WHOLE}")

    def zone_bit(self, zone: str) -> int:
        """Return the bit that stands for a zone in masks."""
        with self._writing() as db:
            found = db.execute("SELECT bit FROM zone WHERE name = ?", (zone,)).fetchone()
            if found is None:
                taken = {taken_bit for (taken_bit,) in db.execute("SELECT bit FROM zone")}
                found = (next(1 << n for n in range(62) if 1 << n not in taken),)
                db.execute("INSERT INTO zone VALUES (?, ?)", (found[0], zone))
        return int(found[0])

    def copies(self, bit: int, project: str) -> dict[tuple[str, str], StudyCopy]:
        """Return a zone's copies of a project's studies.

        Parameters
        ----------
        bit
            The zone's bit.
        project
            The project's name.

        Returns
        -------
        dict
            Copies by subject and Study Instance UID.
        """
        with self.reading() as db:
            rows = db.execute(
                "SELECT subject, uid, manifest, objects FROM copy JOIN study ON study = study.id"
                " WHERE zone = ? AND project = ?",
                (bit, project),
            )
            return {(s, u): StudyCopy(manifest, json.loads(o)) for s, u, manifest, o in rows}

    def copy_of(self, bit: int, project: str, subject: str, uid: str) -> StudyCopy | None:
        """Return a zone's copy of a study; None if it has none.

        Parameters
        ----------
        bit
            The zone's bit.
        project, subject
            The project's name and the subject's pseudonym.
        uid
            Study Instance UID.
        """
        with self.reading() as db:
            row = db.execute(
                "SELECT manifest, objects FROM copy JOIN study ON study = study.id"
                " WHERE zone = ? AND project = ? AND subject = ? AND uid = ?",
                (bit, project, subject, uid),
            ).fetchone()
        return None if row is None else StudyCopy(row[0], json.loads(row[1]))

    def studies_of(self, bit: int, project: str, subject: str) -> list[str]:
        """Return the UIDs of a subject's studies that a zone has.

        Parameters
        ----------
        bit
            The zone's bit.
        project, subject
            The project's name and the subject's pseudonym.
        """
        with self.reading() as db:
            rows = db.execute(
                "SELECT uid FROM study JOIN copy ON study = study.id"
                " WHERE zone = ? AND project = ? AND subject = ?",
                (bit, project, subject),
            ).fetchall()
        return [uid for (uid,) in rows]

    def progress(self, bit: int, project: str) -> tuple[float, float]:
        """Return up to when changes of a zone were read, and when all of it was compared.

        Parameters
        ----------
        bit
            The zone's bit.
        project
            The project's name.

        Returns
        -------
        tuple of float
            Seconds since the epoch; 0 for never.
        """
        with self.reading() as db:
            row = db.execute(
                "SELECT through, reconciled FROM progress WHERE zone = ? AND project = ?",
                (bit, project),
            ).fetchone()
        return row or (0.0, 0.0)

    def set_progress(self, bit: int, project: str, through: float, reconciled: float) -> None:
        """Note up to when changes of a zone were read.

        Parameters
        ----------
        bit
            The zone's bit.
        project
            The project's name.
        through, reconciled
            As `progress` returns them.
        """
        with self._writing() as db:
            db.execute(
                "INSERT OR REPLACE INTO progress VALUES (?, ?, ?, ?)",
                (bit, project, through, reconciled),
            )

    def put(
        self,
        bit: int,
        manifest: Manifest,
        attributes: Mapping[str, Json],
        good: Mapping[str, StoredObject],
        copy: StudyCopy,
    ) -> None:
        """Enter a zone's copy of a study, completely or not at all.

        A newer version than the index has takes the study's place in all zones. An older one is
        not entered while another zone has the newer.

        Parameters
        ----------
        bit
            The zone's bit.
        manifest
            The study's manifest.
        attributes
            Each instance's own attributes by SOP Instance UID, where the manifest has none.
        good
            The objects with a good replica in the zone, by `ManifestEntry.path`.
        copy
            The copy as the catalog describes it, to find its next change.
        """
        with self._writing() as db:
            study = self._study(db, manifest)
            old = _attributes(db, study)
            if not self._set_version(db, bit, study, manifest.version):
                return
            self._set_text(db, study, manifest)
            db.execute(
                "INSERT OR REPLACE INTO copy VALUES (?, ?, ?, ?)",
                (bit, study, copy.manifest, json.dumps(copy.objects, sort_keys=True)),
            )
            before = {
                (series, uid): (key, sha256, zones)
                for key, series, uid, sha256, zones in db.execute(
                    "SELECT instance.id, series.uid, instance.uid, sha256, zones FROM instance"
                    " JOIN series ON series = series.id WHERE study = ?",
                    (study,),
                )
            }
            series_ids = self._series(db, study, manifest)
            for entry in manifest.instances:
                if entry.series not in series_ids or not _named(entry):
                    continue
                own = entry.own or attributes.get(entry.sop, {})
                stored = good.get(entry.path)
                here = bit if stored is not None and stored.sha256 == entry.sha256 else 0
                key, sha256, zones = before.pop((entry.series, entry.sop), (None, entry.sha256, 0))
                others = zones & ~bit
                if others and sha256 != entry.sha256:
                    continue  # another zone entered it first, with other bytes
                db.execute(
                    "INSERT INTO instance VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                    " sha256 = excluded.sha256, size = excluded.size, zones = excluded.zones,"
                    " attributes = CASE excluded.attributes WHEN '{}' THEN attributes"
                    " ELSE excluded.attributes END",
                    (
                        key,
                        series_ids[entry.series],
                        entry.sop,
                        entry.sha256,
                        entry.size,
                        others | here,
                        _text(own),
                    ),
                )
            for key, _, _ in before.values():
                db.execute("UPDATE instance SET zones = zones & ~? WHERE id = ?", (bit, key))
            self._sweep(db, study, old)

    def _study(self, db: sqlite3.Connection, manifest: Manifest) -> int:
        shared = make_portable(manifest.shared)
        date, patient = first(shared, _DATE), first(shared, _PATIENT) or manifest.subject
        db.execute(
            "INSERT INTO study (project, subject, uid, patient_id, date, version)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET patient_id = excluded.patient_id,"
            " date = excluded.date WHERE ?",
            (
                manifest.project,
                manifest.subject,
                manifest.study,
                patient,
                date,
                manifest.version,
                bool(shared),
            ),
        )
        found = db.execute(
            "SELECT id FROM study WHERE project = ? AND subject = ? AND uid = ?",
            (manifest.project, manifest.subject, manifest.study),
        )
        return int(found.fetchone()[0])

    @staticmethod
    def _set_version(db: sqlite3.Connection, bit: int, study: int, version: int) -> bool:
        """Make room for a version; return False if another zone has a newer one."""
        ((known,),) = db.execute("SELECT version FROM study WHERE id = ?", (study,)).fetchall()
        if known == version:
            return True
        others = db.execute("SELECT 1 FROM copy WHERE study = ? AND zone <> ?", (study, bit))
        if known > version and others.fetchone():
            return False
        db.execute("DELETE FROM copy WHERE study = ?", (study,))
        db.execute("DELETE FROM series WHERE study = ?", (study,))
        db.execute("UPDATE study SET version = ? WHERE id = ?", (version, study))
        return True

    def version_of(self, project: str, subject: str, uid: str) -> int:
        """Return which version of a study the index has; 1 if it has none.

        Parameters
        ----------
        project, subject
            The project's name and the subject's pseudonym.
        uid
            Study Instance UID.
        """
        with self.reading() as db:
            row = db.execute(
                "SELECT version FROM study WHERE project = ? AND subject = ? AND uid = ?",
                (project, subject, uid),
            ).fetchone()
        return int(row[0]) if row else 1

    @staticmethod
    def _set_text(db: sqlite3.Connection, study: int, manifest: Manifest) -> None:
        db.execute(
            "INSERT INTO study_text VALUES (?, ?) ON CONFLICT DO UPDATE SET"
            " attributes = excluded.attributes WHERE excluded.attributes <> '{}'",
            (study, _text(manifest.shared)),
        )

    def _series(self, db: sqlite3.Connection, study: int, manifest: Manifest) -> dict[str, int]:
        root = f"{manifest.project}/data/{manifest.subject}/{manifest.study}"
        places = {
            entry.series: f"{version_suffix(entry.version or manifest.version)}/{entry.place}"
            for entry in manifest.instances
            if _named(entry)
        }
        for uid, place in sorted(places.items()):
            db.execute(
                "INSERT INTO series (study, uid, place, attributes) VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET attributes = excluded.attributes"
                " WHERE excluded.attributes <> '{}'",
                (study, uid, f"{root}{place}{uid}", _text(manifest.series.get(uid, {}))),
            )
        return dict(db.execute("SELECT uid, id FROM series WHERE study = ?", (study,)).fetchall())

    def drop(self, bit: int, project: str, subject: str, uid: str) -> None:
        """Remove a zone's copy of a study, and the study with its last copy.

        Parameters
        ----------
        bit
            The zone's bit.
        project, subject
            The project's name and the subject's pseudonym.
        uid
            Study Instance UID.
        """
        with self._writing() as db:
            found = db.execute(
                "SELECT id FROM study WHERE project = ? AND subject = ? AND uid = ?",
                (project, subject, uid),
            ).fetchone()
            if found is None:
                return
            old = _attributes(db, found[0])
            db.execute("DELETE FROM copy WHERE zone = ? AND study = ?", (bit, found[0]))
            db.execute(
                "UPDATE instance SET zones = zones & ~? WHERE series IN"
                " (SELECT id FROM series WHERE study = ?)",
                (bit, found[0]),
            )
            self._sweep(db, found[0], old)

    def keep_only(self, served: Sequence[tuple[int, str]]) -> None:
        """Remove the copies of zones and projects that are no longer served."""
        with self.reading() as db:
            gone = [
                (bit, project, subject, uid)
                for bit, project, subject, uid in db.execute(
                    "SELECT zone, project, subject, uid FROM copy JOIN study ON study = study.id"
                )
                if (bit, project) not in served
            ]
        for copy in gone:
            self.drop(*copy)

    @staticmethod
    def _sweep(db: sqlite3.Connection, study: int, old: list[Json]) -> None:
        """Remove the parts of a study that no zone holds any more, and count the rest."""
        mine = "(SELECT id FROM series WHERE study = ?)"
        db.execute(f"DELETE FROM instance WHERE zones = 0 AND series IN {mine}", (study,))
        db.execute(
            "DELETE FROM series WHERE study = ? AND NOT EXISTS"
            " (SELECT 1 FROM instance WHERE series = series.id)",
            (study,),
        )
        db.execute(
            "DELETE FROM study WHERE id = ? AND NOT EXISTS"
            " (SELECT 1 FROM copy WHERE study = study.id)",
            (study,),
        )
        db.execute(f"DELETE FROM tally WHERE series IN {mine}", (study,))
        db.execute(
            "INSERT INTO tally SELECT series, zones,"
            f" coalesce(json_extract(attributes, '$.{_CLASS}.Value[0]'), ''), count(*)"
            f" FROM instance WHERE series IN {mine} GROUP BY 1, 2, 3",
            (study,),
        )
        terms.replace_terms(db, study, old, _attributes(db, study))

    # -- cached headers --------------------------------------------------------------------

    def metadata(self, sha256: str) -> bytes | None:
        """Return the cached header of an object, by its checksum; None if there is none."""
        with self.reading() as db:
            found = db.execute("SELECT content FROM metadata WHERE sha256 = ?", (sha256,))
            row = found.fetchone()
        return None if row is None else bytes(row[0])

    def keep_metadata(self, kept: Mapping[str, bytes]) -> None:
        """Cache headers by their objects' checksums."""
        with self._writing() as db:
            db.executemany("INSERT OR REPLACE INTO metadata VALUES (?, ?)", kept.items())

    def forget_metadata(self) -> None:
        """Drop cached headers of objects that are gone."""
        with self._writing() as db:
            db.execute(
                "DELETE FROM metadata WHERE NOT EXISTS"
                " (SELECT 1 FROM instance WHERE instance.sha256 = metadata.sha256)"
            )

    def known(self, checksums: Iterable[str]) -> set[str]:
        """Return those of some checksums that an object in the index has."""
        with self.reading() as db:
            return {
                sha256
                for sha256 in checksums
                if db.execute("SELECT 1 FROM instance WHERE sha256 = ?", (sha256,)).fetchone()
            }


def _attributes(db: sqlite3.Connection, study: int) -> list[Json]:
    """Return the attributes that a study's terms are made of: its own and those of its series."""
    found: list[Json] = []
    for (text,) in db.execute("SELECT attributes FROM study_text WHERE id = ?", (study,)):
        found.append(json.loads(text))
    for (text,) in db.execute("SELECT attributes FROM series WHERE study = ?", (study,)):
        found.append(json.loads(text))
    classes = [
        name
        for (name,) in db.execute(
            "SELECT DISTINCT sop_class FROM tally WHERE series IN"
            " (SELECT id FROM series WHERE study = ?)",
            (study,),
        )
    ]
    found.append({_CLASS: {"vr": "UI", "Value": classes}})
    return found


def _named(entry: ManifestEntry) -> bool:
    """Return whether an instance's UIDs and checksum are valid: paths are made of them."""
    return is_uid(entry.series) and is_uid(entry.sop) and bool(_SHA256.match(entry.sha256))


def first(attributes: Json, tag: str) -> str:
    """Return an attribute's first value.

    Parameters
    ----------
    attributes
        Attributes in the DICOM JSON model.
    tag
        The attribute's tag in 8 hex digits.

    Returns
    -------
    str
        The value as text; empty if there is none.
    """
    values = attributes.get(tag, {}).get("Value") or [""]
    return "" if values[0] is None or isinstance(values[0], dict) else str(values[0])


def _text(attributes: Json) -> str:
    # A partner's manifest may hold anything; one value must not break everybody's queries.
    return json.dumps(
        make_portable(attributes), ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
