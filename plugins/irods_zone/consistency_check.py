"""Does the catalog agree with the vault? Reads both, changes neither.

``python -m irods_zone check --dir DIR`` prints one line per disagreement and ends with
exit code 0 if there is none, 1 if there are some, 2 if the directory holds no zone. Of a zone that
serves at this moment, objects that are being written are reported as open.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from .errors import IrodsError
from .logical_locking import GOOD
from .vault import checksum_file, checksum_scheme, is_vault_path


@dataclass(frozen=True)
class Problem:
    """One disagreement: what kind, about what, and what is known of it."""

    kind: str
    subject: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.subject}: {self.detail}"


_REPLICAS = """
SELECT d.*, c.name || '/' || d.name AS logical, r.name AS resource, r.vault AS vault
FROM data d LEFT JOIN coll c ON c.id = d.coll_id LEFT JOIN resc r ON r.id = d.resc_id
ORDER BY d.id, d.repl"""

_DANGLING = {
    "collection without parent": """SELECT name FROM coll WHERE name <> '/'
        AND parent NOT IN (SELECT name FROM coll)""",
    "replica without collection": """SELECT id || '.' || repl FROM data
        WHERE coll_id NOT IN (SELECT id FROM coll)""",
    "replica on no resource": """SELECT id || '.' || repl FROM data
        WHERE resc_id NOT IN (SELECT id FROM resc)""",
    "name used by object and collection": """SELECT c.name || '/' || d.name FROM data d
        JOIN coll c ON c.id = d.coll_id JOIN coll x ON x.name = c.name || '/' || d.name""",
    "two objects of one name": """SELECT coll_id || '/' || name FROM data
        GROUP BY coll_id, name HAVING count(DISTINCT id) > 1""",
    "replicas under two names": """SELECT id FROM data GROUP BY id
        HAVING count(DISTINCT coll_id || '/' || name) > 1""",
    "two replicas in one file": "SELECT path FROM data GROUP BY path HAVING count(*) > 1",
    "right on nothing": """SELECT DISTINCT object_id FROM access WHERE object_id NOT IN
        (SELECT id FROM coll UNION SELECT id FROM data)""",
    "right of nobody": """SELECT DISTINCT object_id FROM access
        WHERE user_id NOT IN (SELECT id FROM user)""",
    "metadata of nothing": """SELECT DISTINCT object_id FROM objt WHERE object_id NOT IN
        (SELECT id FROM coll UNION SELECT id FROM data UNION SELECT id FROM resc
         UNION SELECT id FROM user)""",
}


def check(directory: Path, checksums: bool = True) -> Iterator[Problem]:
    """Yield every disagreement between the catalog and the vaults of a zone's directory.

    With checksums every byte of every replica that has one is read. Raises `FileNotFoundError`
    if the directory holds no catalog.
    """
    file = directory / "catalog.sqlite"
    if not file.is_file():
        raise FileNotFoundError(f"{directory}: no catalog.sqlite there")
    with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as db:
        db.row_factory = sqlite3.Row
        for (text,) in db.execute("PRAGMA integrity_check"):
            if text != "ok":
                yield Problem("catalog damaged", file.name, text)
        for kind, sql in _DANGLING.items():
            for (subject,) in db.execute(sql):
                yield Problem(kind, str(subject), "")
        known: set[str] = set()
        for row in db.execute(_REPLICAS):
            known.add(row["path"])
            yield from _check_replica(row, checksums)
        vaults = {r["vault"] for r in db.execute("SELECT vault FROM resc") if r["vault"]}
    yield from _files_without_row(vaults, known)


def _check_replica(row: sqlite3.Row, checksums: bool) -> Iterator[Problem]:
    subject = f"{row['logical']} replica {row['repl']} on {row['resource']}"
    if row["status"] > GOOD:
        yield Problem("open", subject, f"status {row['status']}, nobody said that it is whole")
    inside = row["vault"] and is_vault_path(row["path"], row["vault"], row["id"], row["repl"])
    try:
        found = os.lstat(row["path"])
    except OSError as e:
        if row["status"] == GOOD or not isinstance(e, FileNotFoundError):
            yield Problem("missing", subject, e.strerror or "unreadable")
        return
    if inside and os.path.islink(os.path.dirname(row["path"])):
        yield Problem("behind a link", subject, "a folder of the vault is a symbolic link")
        return
    if inside and not stat.S_ISREG(found.st_mode):
        yield Problem("no plain file", subject, "the vault must hold nothing else")
        return
    if row["status"] != GOOD:
        return
    if found.st_size != row["size"]:
        yield Problem("size", subject, f"{found.st_size} bytes, {row['size']} in the catalog")
    elif checksums and row["checksum"]:
        kind = checksum_scheme(row["checksum"])
        try:
            value = checksum_file(row["path"], kind)
        except IrodsError as e:
            yield Problem("unreadable", subject, str(e.code))
            return
        if value != row["checksum"]:
            yield Problem("checksum", subject, f"{value}, {row['checksum']} in the catalog")


def _files_without_row(vaults: set[str], known: set[str]) -> Iterator[Problem]:
    for vault in sorted(vaults):
        for folder, _, names in os.walk(vault):
            for name in sorted(names):
                path = os.path.join(folder, name)
                if path not in known:
                    yield Problem("orphan", path, "in the vault, not in the catalog")


def main(arguments: list[str]) -> int:
    """The command; returns its exit code."""
    p = argparse.ArgumentParser(prog="python -m irods_zone check", description=__doc__)
    p.add_argument("--dir", type=Path, required=True, help="the zone's directory")
    p.add_argument("--no-checksums", action="store_true", help="compare sizes alone")
    a = p.parse_args(arguments)
    counts: Counter[str] = Counter()
    try:
        for problem in check(a.dir, checksums=not a.no_checksums):
            print(problem)
            counts[problem.kind] += 1
    except FileNotFoundError as e:
        print(e)
        return 2
    if counts:
        print("not consistent: " + ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items())))
        return 1
    print("catalog and vault agree")
    return 0
