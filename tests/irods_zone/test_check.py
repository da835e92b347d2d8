"""The consistency check finds each kind of damage, and nothing in an intact zone."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from irods.session import iRODSSession

from irods_zone import ZoneServer
from irods_zone.consistency_check import check

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
HOME = "/brno/home/rods"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A stopped zone with three objects, two of them with checksums."""
    with ZoneServer("brno", tmp_path / "z") as zone:
        options = {"host": "127.0.0.1", "user": "rods", "password": "rods", "zone": "brno"}
        with iRODSSession(port=zone.port, **options) as s:
            for name, keywords in (("a", {"regChksum": ""}), ("b", {"regChksum": ""}), ("c", {})):
                with s.data_objects.open(f"{HOME}/{name}", "w", **keywords) as f:
                    f.write(name.encode() * 1000)
                s.data_objects.get(f"{HOME}/{name}").metadata.add("k", "v")
            s.data_objects.unlink(f"{HOME}/b", force=True)
    return tmp_path / "z"


def file_of(directory: Path, name: str) -> Path:
    with sqlite3.connect(directory / "catalog.sqlite") as db:
        return Path(db.execute("SELECT path FROM data WHERE name=?", (name,)).fetchone()[0])


def kinds(directory: Path) -> list[str]:
    return sorted(p.kind for p in check(directory))


def test_sound(directory: Path) -> None:
    assert kinds(directory) == []


def test_damage_in_the_vault(directory: Path) -> None:
    a, c = file_of(directory, "a"), file_of(directory, "c")
    a.write_bytes(b"A" * 1000)
    c.write_bytes(b"c")
    (a.parent / "stray").write_bytes(b"")
    assert kinds(directory) == ["checksum", "orphan", "size"]
    a.unlink()
    c.unlink()
    os.symlink("/etc/passwd", c)
    assert kinds(directory) == ["missing", "no regular file", "orphan"]


def test_damage_in_the_catalog(directory: Path) -> None:
    with sqlite3.connect(directory / "catalog.sqlite") as db:
        db.execute("UPDATE data SET status=2 WHERE name='a'")
        db.execute("UPDATE data SET coll_id=1 WHERE name='c'")
        db.execute("INSERT INTO access VALUES(77, 1, 1200)")
        db.execute("INSERT INTO objt VALUES(78, 1, '', '')")
    found = kinds(directory)
    for kind in ("open", "replica without collection", "access to nothing", "metadata of nothing"):
        assert kind in found


def test_command(directory: Path) -> None:
    def run(where: Path) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "irods_zone", "check", "--dir", str(where)],
            capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(PLUGINS)},
        )  # fmt: skip
        return done.returncode, done.stdout

    assert run(directory) == (0, "catalog and vaults agree\n")
    file_of(directory, "a").write_bytes(b"A" * 1000)
    code, text = run(directory)
    assert code == 1 and "/brno/home/rods/a replica 0 on demoResc" in text
    assert run(directory / "nothing")[0] == 2
