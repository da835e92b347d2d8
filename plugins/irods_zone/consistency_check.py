"""Compare the catalog of a zone with its vaults, without changing either.

In a zone that is running, data objects that are being written are reported as open.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import stat
import sys
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
    """One disagreement.

    Attributes
    ----------
    kind : str
        What is wrong, such as ``missing`` or ``checksum``.
    subject : str
        The replica, file or catalog entry.
    detail : str
        More about it.
    """

    kind: str
    subject: str
    detail: str

    def __str__(self) -> str:
        """Return the line that ``irods-zone check`` prints."""
        return f"{self.kind}: {self.subject}: {self.detail}"


_REPLICAS = """
SELECT d.*, c.name || '/' || d.name AS logical, r.name AS resource, r.vault AS vault
FROM data d LEFT JOIN coll c ON c.id = d.coll_id LEFT JOIN resc r ON r.id = d.resc_id
ORDER BY d.id, d.repl"""

# Queries for entries that refer to what is not there, or contradict each other.
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
    "access to nothing": """SELECT DISTINCT object_id FROM access WHERE object_id NOT IN
        (SELECT id FROM coll UNION SELECT id FROM data)""",
    "access of nobody": """SELECT DISTINCT object_id FROM access
        WHERE user_id NOT IN (SELECT id FROM user)""",
    "metadata of nothing": """SELECT DISTINCT object_id FROM objt WHERE object_id NOT IN
        (SELECT id FROM coll UNION SELECT id FROM data UNION SELECT id FROM resc
         UNION SELECT id FROM user)""",
}


def check(directory: Path, checksums: bool = True) -> Iterator[Problem]:
    """Compare the catalog of a zone with its vaults.

    Parameters
    ----------
    directory : Path
        The zone's directory.
    checksums : bool
        Whether to read every replica that has a checksum and compare it.

    Yields
    ------
    Problem
        Each disagreement.

    Raises
    ------
    FileNotFoundError
        The directory holds no catalog.
    """
    file = directory / "catalog.sqlite"
    if not file.is_file():
        raise FileNotFoundError(f"{directory}: no zone there, catalog.sqlite is missing")
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
        yield Problem("open", subject, f"status {row['status']}, not finished")
    inside = row["vault"] and is_vault_path(row["path"], row["vault"], row["id"], row["repl"])
    try:
        found = os.lstat(row["path"])
    except OSError as e:
        if row["status"] == GOOD or not isinstance(e, FileNotFoundError):
            yield Problem("missing", subject, e.strerror or "unreadable")
        return
    if inside and os.path.islink(os.path.dirname(row["path"])):
        yield Problem("behind a link", subject, "a directory of the vault is a symbolic link")
        return
    if inside and not stat.S_ISREG(found.st_mode):
        yield Problem("no regular file", subject, "a vault holds regular files only")
        return
    if row["status"] != GOOD:
        return
    if found.st_size != row["size"]:
        yield Problem("size", subject, f"{found.st_size} bytes, {row['size']} in the catalog")
    elif checksums and row["checksum"]:
        scheme = checksum_scheme(row["checksum"])
        try:
            value = checksum_file(row["path"], scheme)
        except IrodsError as e:
            yield Problem("unreadable", subject, str(e.code))
            return
        if value != row["checksum"]:
            yield Problem("checksum", subject, f"{value}, {row['checksum']} in the catalog")


def _files_without_row(vaults: set[str], known: set[str]) -> Iterator[Problem]:
    for vault in sorted(vaults):
        for directory, _, names in os.walk(vault):
            for name in sorted(names):
                path = os.path.join(directory, name)
                if path not in known:
                    yield Problem("orphan", path, "in the vault, not in the catalog")


def main(arguments: list[str]) -> int:
    """Run ``irods-zone check``.

    Parameters
    ----------
    arguments : list of str
        Its options.

    Returns
    -------
    int
        Exit code: 0 if catalog and vaults agree, 1 if not, 2 if there is no zone.
    """
    parser = argparse.ArgumentParser(
        prog="irods-zone check",
        description="Compare the catalog of a zone with its vaults, without changing either: one"
        " line for each disagreement. Data objects that are being written are reported as open.",
        epilog="Exit code: 0 if they agree, 1 if not, 2 if there is no zone.",
    )
    parser.add_argument("--dir", type=Path, required=True, help="directory of the zone")
    parser.add_argument(
        "--no-checksums", action="store_true", help="compare sizes, but do not read the files"
    )
    options = parser.parse_args(arguments)
    counts: Counter[str] = Counter()
    try:
        for problem in check(options.dir, checksums=not options.no_checksums):
            print(problem)
            counts[problem.kind] += 1
    except FileNotFoundError as e:
        print(e, file=sys.stderr)
        return 2
    if counts:
        print("not consistent: " + ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items())))
        return 1
    print("catalog and vaults agree")
    return 0
