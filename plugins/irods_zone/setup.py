"""What a fresh zone holds: administrator, groups, homes, the first resource."""

from __future__ import annotations

from pathlib import Path

from . import views
from .catalog import OWN, Catalog, now
from .doomed import bury_all
from .locks import recover


def populate(
    cat: Catalog, zone: str, vault: Path, host: str, admin: str, password: str, remotes: list[str]
) -> None:
    """Fill a new catalog; in an old one only add new partner zones."""
    t = now()
    with cat.tx(durable=True) as db:
        views.create(db)
        if cat.one("SELECT id FROM zone WHERE type='local'") is None:
            db.execute("INSERT INTO zone VALUES(?,?,'local','','')", (cat.new_id(db), zone))
            uid = cat.new_id(db)
            db.execute(
                "INSERT INTO user(id,name,zone,type,password,ctime,mtime)"
                " VALUES(?,?,?,'rodsadmin',?,?,?)", (uid, admin, zone, password, t, t),
            )  # fmt: skip
            groups = {}
            for name in ("public",):
                groups[name] = cat.new_id(db)
                db.execute(
                    "INSERT INTO user(id,name,zone,type,ctime,mtime) VALUES(?,?,?,'rodsgroup',?,?)",
                    (groups[name], name, zone, t, t),
                )
                db.execute("INSERT INTO member VALUES(?,?)", (groups[name], uid))
                db.execute("INSERT INTO member VALUES(?,?)", (groups[name], groups[name]))
            db.execute("INSERT INTO member VALUES(?,?)", (uid, uid))
            z = f"/{zone}"
            shared = ["/", z, f"{z}/home", f"{z}/trash", f"{z}/trash/home"]
            own = [f"{z}/home/{admin}", f"{z}/trash/home/{admin}"]
            for path in [*shared, f"{z}/home/public", f"{z}/trash/home/public", *own]:
                cid = cat.add_coll(db, path, admin, zone, uid)
                # Of those above the homes nobody but the administrator sees anything.
                if path.endswith("/public"):
                    db.execute(
                        "INSERT OR REPLACE INTO access VALUES(?,?,?)", (cid, groups["public"], OWN)
                    )
            db.execute(
                "INSERT INTO resc(id,name,type,loc,vault,ctime,mtime)"
                " VALUES(?,'demoResc','unixfilesystem',?,?,?,?)",
                (cat.new_id(db), host, str(vault), t, t),
            )
        for name in remotes:
            if cat.one("SELECT id FROM zone WHERE name=?", name) is None:
                db.execute("INSERT INTO zone VALUES(?,?,'remote','','')", (cat.new_id(db), name))
        recover(db)
    bury_all(cat)
    cat.load_resources()
