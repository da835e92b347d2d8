"""Access control lists: set access levels and inheritance."""

from __future__ import annotations

from ..access_control import DESCENDANTS, access_level, require_owner, require_user, set_access
from ..api_messages import Reply, Request, json_reply, operation_error
from ..api_numbers import Api
from ..api_registry import handles
from ..catalog import LEVELS, canonical_path
from ..error_codes import ErrorCode
from ..errors import IrodsError
from ..namespace import descendant_range
from ..session import Session


@handles(Api.MOD_ACCESS_CONTROL_AN)
def _mod_access_control(session: Session, request: Request) -> Reply:
    """Set an access level or a collection's inheritance, recursively if asked."""
    word = request.node.get("accessLevel")
    path = canonical_path(request.node.get("path"))
    recursive = bool(request.node.number("recursiveFlag"))
    if word.startswith("admin:"):
        session.elevate()
    object_id, is_coll = require_owner(session, path)
    word, bounds = word.removeprefix("admin:"), (path, *descendant_range(path))
    with session.catalog.transaction(durable=True) as db:
        if word in ("inherit", "noinherit"):
            if not is_coll:
                raise IrodsError(ErrorCode.CAT_UNKNOWN_COLLECTION, path)
            where = "name=?1 OR (name>=?2 AND name<?3)" if recursive else "name=?1"
            args = bounds if recursive else bounds[:1]
            db.execute(f"UPDATE coll SET inherit={int(word == 'inherit')} WHERE {where}", args)
            return Reply()
        level = access_level(word)
        name, zone = request.node.get("userName"), request.node.get("zone")
        user = require_user(session, name, zone)["id"]
        if recursive and is_coll:
            db.executemany(
                "DELETE FROM access WHERE object_id=? AND user_id=?",
                [(row["id"], user) for row in db.execute(DESCENDANTS, bounds).fetchall()],
            )
            if level > LEVELS["null"]:
                db.execute(f"INSERT INTO access SELECT id, ?4, ?5 FROM ({DESCENDANTS})",
                           (*bounds, user, level))  # fmt: skip
        else:
            set_access(db, object_id, user, level)
    return Reply()


@handles(Api.ATOMIC_APPLY_ACL_OPERATIONS_APN)
def _atomic_apply_acl_operations(session: Session, request: Request) -> Reply:
    """Set several access levels on one data object or collection, all or none."""
    data = request.json()
    try:
        path = canonical_path(str(data.get("logical_path", "")))
        if data.get("admin_mode"):
            session.elevate()
        object_id, _ = require_owner(session, path)
    except IrodsError as e:
        raise operation_error(e.code, "User not allowed to modify ACLs") from None
    with session.catalog.transaction(durable=True) as db:
        for number, op in enumerate(data.get("operations") or []):
            try:
                user = require_user(session, str(op["entity_name"]), str(op.get("zone") or ""))
                set_access(db, object_id, user["id"], access_level(str(op["acl"])))
            except (KeyError, TypeError):
                raise operation_error(
                    ErrorCode.SYS_INTERNAL_ERR, "Operation is not complete.", op, number
                ) from None
            except IrodsError as e:
                raise operation_error(e.code, f"Not possible: {e.message}", op, number) from None
    return json_reply({})
