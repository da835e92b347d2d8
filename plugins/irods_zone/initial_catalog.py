"""What a new zone holds: administrator, group ``public``, home collections, one resource."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from . import catalog_views
from .catalog import OWN, Catalog, timestamp
from .deferred_deletion import delete_leftovers
from .logical_locking import recover
from .resource_hierarchy import STORAGE
from .zone_state import ZoneState


def populate(zone: ZoneState, vault: Path, password: str) -> None:
    """Fill a new catalog; in one of an earlier server, repair what its end left.

    Parameters
    ----------
    zone : ZoneState
        The zone.
    vault : Path
        Vault of the default resource.
    password : str
        The administrator's password.
    """
    catalog = zone.catalog
    with catalog.transaction(durable=True) as db:
        catalog_views.create(db)
        if catalog.one("SELECT id FROM zone WHERE type='local'") is None:
            db.execute(
                "INSERT INTO zone VALUES(?,?,'local','','')", (catalog.new_id(db), zone.name)
            )
            admin_id, public_id = _add_users(catalog, db, zone, password)
            _add_collections(catalog, db, zone, admin_id, public_id)
            t = timestamp()
            db.execute(
                "INSERT INTO resc(id,name,type,loc,vault,ctime,mtime) VALUES(?,?,?,?,?,?,?)",
                (catalog.new_id(db), zone.default_resource, STORAGE, zone.host, str(vault), t, t),
            )
        for name in zone.partners:
            if catalog.one("SELECT id FROM zone WHERE name=?", name) is None:
                db.execute(
                    "INSERT INTO zone VALUES(?,?,'remote','','')", (catalog.new_id(db), name)
                )
        recover(db)
    delete_leftovers(catalog)
    catalog.load_resources()


def _add_users(
    catalog: Catalog, db: sqlite3.Connection, zone: ZoneState, password: str
) -> tuple[int, int]:
    """Add the administrator and the group of all users; return their ids."""
    t, admin_id, public_id = timestamp(), catalog.new_id(db), catalog.new_id(db)
    db.execute(
        "INSERT INTO user(id,name,zone,type,password,ctime,mtime)"
        " VALUES(?,?,?,'rodsadmin',?,?,?)", (admin_id, zone.admin, zone.name, password, t, t),
    )  # fmt: skip
    db.execute(
        "INSERT INTO user(id,name,zone,type,ctime,mtime) VALUES(?,'public',?,'rodsgroup',?,?)",
        (public_id, zone.name, t, t),
    )
    db.executemany(
        "INSERT INTO member VALUES(?,?)",
        [(public_id, admin_id), (public_id, public_id), (admin_id, admin_id)],
    )
    return admin_id, public_id


def _add_collections(
    catalog: Catalog, db: sqlite3.Connection, zone: ZoneState, admin_id: int, public_id: int
) -> None:
    """Add the root, homes and trash; only the public ones are visible to other users."""
    root = f"/{zone.name}"
    for path in (
        "/", root, f"{root}/home", f"{root}/trash", f"{root}/trash/home",
        f"{root}/home/public", f"{root}/trash/home/public",
        f"{root}/home/{zone.admin}", f"{root}/trash/home/{zone.admin}",
    ):  # fmt: skip
        coll_id = catalog.add_collection(db, path, zone.admin, zone.name, admin_id)
        if path.endswith("/public"):
            db.execute("INSERT OR REPLACE INTO access VALUES(?,?,?)", (coll_id, public_id, OWN))
